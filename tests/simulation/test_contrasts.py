"""Images painted from label maps."""

from dataclasses import replace

import pytest
import torch

from isdu_bids.physics.padding import mask_box
from isdu_bids.segmentation.labels import DEEP_NUCLEI, SYNTHSEG_LABELS, mirrored
from isdu_bids.simulation.contrasts import (
    MERGED_LABELS,
    MIRRORED_LABELS,
    PLAY_MM,
    ContrastSettings,
    draw_contrast,
    paint_gradient_echo,
    rescale,
)
from isdu_bids.simulation.demo_head import demo_head

SETTINGS = ContrastSettings(size=(32, 40, 24))
#: The anatomy as it is, but for mirroring and shifts.
STILL = replace(SETTINGS, max_rotation_deg=0.0, max_scale=0.0, max_shear=0.0, max_warp_mm=0.0)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def head():
    return demo_head((46, 54, 48), (4.0, 4.0, 4.0), seeded(0))


@pytest.mark.parametrize("gradient_echo_fraction", [0.0, 1.0])
def test_image_and_labels(head, gradient_echo_fraction):
    settings = replace(SETTINGS, gradient_echo_fraction=gradient_echo_fraction)
    for seed in range(4):
        image, labels = draw_contrast(head, seeded(seed), settings)
        assert image.shape[1:] == labels.shape == settings.size
        assert len(image) == 1
        assert image.dtype == torch.float32
        assert (float(image.min()), float(image.max())) == (0.0, 1.0)
        assert set(labels.unique().tolist()) <= set(SYNTHSEG_LABELS)
        assert len(labels.unique()) > 10
        assert image.std() > 0.05  # there is something to see


def test_susceptibility_is_a_second_channel(head):
    """It shows the iron of the nuclei, and nothing outside the brain."""
    settings = replace(SETTINGS, susceptibility=True, around="deep_nuclei", coarse_fraction=0.0)
    contrasts = []
    for seed in range(6):
        (_, chi), labels = draw_contrast(head, seeded(seed), settings)
        assert chi[labels == 0].abs().max() < 0.3 * chi[labels != 0].abs().max()
        pallidum, rest = (labels == 13) | (labels == 52), (labels == 2) | (labels == 41)
        contrasts.append(float(chi[pallidum].mean() - chi[rest].mean()))
    assert sum(contrasts) / len(contrasts) == pytest.approx(1.2, abs=0.6)  # units of 0.1 ppm


def test_the_seed_decides(head):
    first, again, other = (draw_contrast(head, seeded(seed), SETTINGS) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
    assert not torch.equal(first[1], other[1])


def test_sides_stay_sides_in_mirrored_heads(head):
    """Half of the heads are mirrored; left is at low x in all of them."""
    asymmetric = torch.where(head == 12, 0, head)  # only the right putamen is there
    seen = set()
    for seed in range(8):
        _, labels = draw_contrast(asymmetric, seeded(seed), replace(STILL, size=(40, 40, 32)))
        left, right = (float((labels == label).nonzero()[:, 0].float().mean()) for label in (2, 41))
        assert left < right
        seen.add(frozenset({12, 51} & set(labels.unique().tolist())))
    assert seen == {frozenset({12}), frozenset({51})}


def test_deep_nuclei_lie_in_the_middle_if_asked(head):
    settings = replace(STILL, around="deep_nuclei", size=(40, 40, 40))
    for seed in range(6):
        _, labels = draw_contrast(head, seeded(seed), settings)
        box = mask_box(torch.isin(labels, torch.tensor(DEEP_NUCLEI)))
        middle = [(part.start + part.stop) / 2 for part in box]
        assert middle == pytest.approx([20, 20, 20], abs=PLAY_MM + 2)


def test_parts_count_as_the_region_that_they_are_part_of(head):
    parts = head.clone()
    sided = {*MIRRORED_LABELS, *MIRRORED_LABELS.values()}
    for part, region in MERGED_LABELS.items():
        if part not in sided:
            continue
        parts[(head == region) & (torch.rand(head.shape, generator=seeded(5)) < 0.5)] = part
    for seed in range(3):
        _, whole = draw_contrast(head, seeded(seed), STILL)
        _, merged = draw_contrast(parts, seeded(seed), STILL)
        assert torch.equal(whole, merged)


def test_partners_are_those_of_the_label_table():
    known = {left: right for left, right in MIRRORED_LABELS.items() if left in SYNTHSEG_LABELS}
    assert known == {k: mirrored(k) for k in SYNTHSEG_LABELS if mirrored(k) > k}


def test_rescaling_cuts_the_tails():
    image = torch.arange(1001.0).reshape(7, 11, 13)
    scaled = rescale(image)
    assert int((scaled == 0).sum()) == pytest.approx(5, abs=1)
    assert int((scaled == 1).sum()) == pytest.approx(5, abs=1)
    assert torch.equal(rescale(3 * image - 50), scaled)
    assert torch.equal(rescale(torch.ones(3, 3, 3)), torch.zeros(3, 3, 3))


def test_white_matter_is_mostly_but_not_always_the_brightest_at_short_echoes(head):
    """Usual flip angles weight by T1; at small ones grey matter and fluid, denser, are brighter."""
    is_brightest = []
    for seed in range(20):
        image = paint_gradient_echo(head, 0.002, seeded(seed))
        white, grey, fluid = (float(image[head == label].mean()) for label in (2, 3, 4))
        is_brightest.append(white > max(grey, fluid))
    assert 10 <= sum(is_brightest) < 20
