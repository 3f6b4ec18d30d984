"""The second look at the deep nuclei, in magnitude and susceptibility."""

import numpy as np
import pytest
import torch
from faults import fault

from isdu_bids.errors import DataError
from isdu_bids.segmentation.labels import SYNTHSEG_LABELS
from isdu_bids.segmentation.loading import load_small
from isdu_bids.segmentation.nuclei import BOX_VOXELS, look_again, nuclei_box
from isdu_bids.segmentation.region_net import CHI_UNIT_PPM, RegionNet, save_region_net
from isdu_bids.segmentation.segment import segment

PUTAMEN, CORTEX = SYNTHSEG_LABELS.index(12), SYNTHSEG_LABELS.index(3)
SHAPE = (128, 120, 90)


def network(inputs=2):
    torch.manual_seed(0)
    return RegionNet(SYNTHSEG_LABELS, (4, 8), inputs).eval().requires_grad_(False)


def posteriors(middle=(60, 70, 40), stray=0):
    """A putamen of 21 mm in a head of cortex."""
    volume = torch.zeros((len(SYNTHSEG_LABELS), *SHAPE))
    volume[CORTEX] = 0.5
    box = tuple(slice(m - 10, m + 11) for m in middle)
    volume[(PUTAMEN, *box)] = 1
    volume[PUTAMEN, :stray, 0, 0] = 1
    return volume


@pytest.mark.parametrize("stray", [0, 40])
def test_the_box_lies_around_the_nuclei(stray):
    box = nuclei_box(posteriors(stray=stray), network())
    assert tuple(part.stop - part.start for part in box) == BOX_VOXELS
    middle = [(part.start + part.stop) / 2 for part in box]
    assert middle == pytest.approx([64 if stray else 60, 70, 40], abs=6)


def test_the_box_stays_inside_the_image():
    box = nuclei_box(posteriors(middle=(20, 100, 75)), network())
    assert all(0 <= part.start <= part.stop <= n for part, n in zip(box, SHAPE, strict=True))


def test_without_nuclei_or_room_nothing_changes():
    nothing = torch.zeros((len(SYNTHSEG_LABELS), *SHAPE))
    nothing[CORTEX] = 1
    assert nuclei_box(nothing, network()) is None
    assert nuclei_box(posteriors()[..., :60], network()) is None
    before = nothing.clone()
    look_again(nothing, torch.zeros(SHAPE), torch.zeros(SHAPE), network(), lambda *_: 1 / 0)
    assert torch.equal(nothing, before)


def test_the_network_sees_both_and_has_a_say_in_the_box_alone():
    generator = torch.Generator().manual_seed(1)
    image, chi = torch.rand((2, *SHAPE), generator=generator)
    chi[:30] = 0
    seen = []

    def posteriors_of(_, pair):
        seen.append(pair)
        return torch.ones((len(SYNTHSEG_LABELS), *pair.shape[2:]))

    for shift in (0.0, 0.3):  # the zero of a map has no meaning
        found, before = posteriors(), posteriors()
        shifted = torch.where(chi != 0, chi + shift, 0)
        look_again(found, image, shifted, network(), posteriors_of)
        box = (slice(None), *nuclei_box(before, network()))
        outside = torch.ones_like(found, dtype=torch.bool)
        outside[box] = False
        assert torch.equal(found[outside], before[outside])
        assert torch.all(found[box] == 1)
    assert torch.equal(seen[0][:, 0], seen[1][:, 0])
    torch.testing.assert_close(seen[0], seen[1], atol=1e-4, rtol=0)
    known = chi[box[1:]] != 0
    shown = seen[0][0, 1]
    assert torch.all(shown[~known] == 0)
    spread = chi[box[1:]][known].std() / CHI_UNIT_PPM
    assert float(shown[known].std()) == pytest.approx(float(spread), rel=1e-4)


def test_labels_of_an_image_with_susceptibility(tmp_path):
    """Whatever the axes of the file, the susceptibility lies on the magnitude."""
    generator = np.random.default_rng(0)
    image = generator.random((100, 110, 70), dtype=np.float32)
    chi = 0.1 * generator.standard_normal(image.shape).astype(np.float32)

    class Everywhere(RegionNet):
        def folded_logits(self, image):
            logits = torch.zeros((1, 8 * len(self.labels), *(n // 2 for n in image.shape[2:])))
            logits[:, PUTAMEN :: len(self.labels)] = 1
            return logits

    first = Everywhere(SYNTHSEG_LABELS, (4, 8)).eval()
    options = {"network": first, "nuclei": network(), "chi_ppm": chi}
    plain = segment(image, np.eye(4), network=first)
    found = segment(image, np.eye(4), **options)
    assert (plain.labels != found.labels).any()
    turned = np.diag([-1.0, 1, 1, 1])
    turned[0, 3] = len(image) - 1
    flipped = segment(image[::-1], turned, **{**options, "chi_ppm": chi[::-1]})
    assert np.array_equal(flipped.labels[::-1], found.labels)
    assert np.array_equal(segment(image, np.eye(4), network=first, nuclei=network()).labels,
                          plain.labels)  # fmt: skip


@fault("networks of regions and nuclei exchanged", "refused", 65)
def test_networks_that_do_not_belong_together_are_refused(tmp_path):
    one, two = tmp_path / "one.safetensors", tmp_path / "two.safetensors"
    save_region_net(one, network(1), "a")
    save_region_net(two, network(2), "b")
    assert load_small(one, two).nuclei.inputs == 2
    assert load_small(one, None).nuclei is None
    for wrong in ((two, one), (one, one), (two, None)):
        with pytest.raises(DataError, match="exchange the files"):
            load_small(*wrong)
