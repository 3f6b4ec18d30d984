"""Segmentation of whole images, with stand-ins for trained networks."""

from itertools import permutations, product

import numpy as np
import pytest
import torch

from isdu_bids.segmentation.conform import conform
from isdu_bids.segmentation.labels import PARC_LABELS, SYNTHSEG1_LABELS, SYNTHSEG_LABELS, mirrored
from isdu_bids.segmentation.postprocess import smoothed
from isdu_bids.segmentation.scores import predicted_scores
from isdu_bids.segmentation.segment import segment
from isdu_bids.segmentation.synthseg import RobustSynthSeg, UNet

#: Brightness of the painted structures.
LEFT, RIGHT, MIDLINE = 0.4, 0.7, 1.0


class ByBrightness(torch.nn.Module):
    """Labels by intensity: what a network should find in a painted volume."""

    labels = (0, 12, 16, 24, 51)

    def forward(self, image):
        values = torch.tensor([0, LEFT, MIDLINE, 0.2, RIGHT]).reshape(1, -1, 1, 1, 1)
        return -((image - values) ** 2) * 300


class Bright(torch.nn.Module):
    """Two classes, divided at half the brightness."""

    labels = (0, 24)

    def forward(self, image):
        return torch.cat([0.5 - image, image - 0.5], dim=1) * 30


class Anything(torch.nn.Module):
    """A random network that knows no symmetry."""

    labels = SYNTHSEG_LABELS

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.convolution = torch.nn.Conv3d(1, 33, 5, padding=2).requires_grad_(False)

    def forward(self, image):
        return 20 * self.convolution(image)


class Scorer(torch.nn.Module):
    """Share of the box that each group fills."""

    def forward(self, one_hot):
        return one_hot.float().mean((2, 3, 4))


def test_the_score_net_sees_what_the_network_says_before_it_is_cleaned():
    image = torch.rand(20, 20, 20, generator=torch.Generator().manual_seed(1)).numpy()
    network = Anything()
    result = segment(
        image, np.eye(4), network=network, score_net=Scorer(), flip=False, device="cpu", smallest=32
    )
    conformed = conform(image, np.eye(4), 32).image[None, None]
    channels = smoothed(network(conformed)[0].softmax(0)).argmax(0)
    assert result.scores == predicted_scores(Scorer(), channels)
    assert np.count_nonzero(list(result.scores.values())) > 4
    plain = segment(image, np.eye(4), network=network, flip=False, device="cpu", smallest=32)
    assert plain.scores == {}
    np.testing.assert_array_equal(plain.labels, result.labels)


def test_the_score_net_knows_one_set_of_labels():
    image = np.random.default_rng(0).random((20, 20, 20))
    assert segment(image, np.eye(4), network=Bright(), score_net=Scorer(), smallest=32).scores == {}


class HalfSpace(torch.nn.Module):
    """Background and one label, divided by a plane across x, blurred over a voxel."""

    labels = (0, 24)

    def __init__(self, edge_voxel):
        super().__init__()
        self.edge_voxel = edge_voxel

    def forward(self, image):
        x = torch.arange(image.shape[2])[:, None, None] - self.edge_voxel
        x = x.expand(image.shape[2:])
        return torch.stack([-x, x])[None].float()


class Parcels(torch.nn.Module):
    """Cortex at low x is left precentral, at high x right insula."""

    labels = PARC_LABELS

    def forward(self, image):
        assert image.shape[1] == 3
        torch.testing.assert_close(image[:, 1] + image[:, 2], torch.ones_like(image[:, 0]))
        logits = torch.zeros(1, 69, *image.shape[2:])
        middle = image.shape[2] // 2
        logits[:, PARC_LABELS.index(1024), :middle] = 9
        logits[:, PARC_LABELS.index(2035), middle:] = 9
        return logits


@pytest.fixture
def painted():
    """RAS volume of 1 mm: a large structure in the middle, one on each side."""
    volume = np.zeros((24, 28, 20))
    volume[5:19, 4:24, 3:17] = 0.2
    volume[9:15, 7:12, 5:14] = MIDLINE
    volume[6:9, 13:18, 5:9] = LEFT
    volume[15:18, 12:18, 8:12] = RIGHT
    return volume


def with_axes(volume, order, signs):
    """The same volume stored along other axes, and the affine that says so."""
    affine = np.eye(4)
    stored = volume.transpose(order)
    for axis, (world, sign) in enumerate(zip(order, signs, strict=True)):
        affine[:3, axis] = 0
        affine[world, axis] = sign
        if sign < 0:
            stored = np.flip(stored, axis)
            affine[world, 3] = volume.shape[world] - 1
    return stored, affine


def test_painted_structures_are_found(painted):
    result = segment(painted, np.eye(4), network=ByBrightness(), flip=False, smallest=32)
    assert result.labels.dtype == np.int16
    assert result.posterior.dtype == np.float32
    for label, brightness in ((12, LEFT), (51, RIGHT), (16, MIDLINE), (24, 0.2)):
        assert (result.labels[painted == brightness] == label).mean() > 0.95
        assert result.soft_volumes_mm3[label] == pytest.approx(
            (painted == brightness).sum(), rel=0.2
        )
        assert 0.5 < result.confidence[label] <= 1
    assert (result.intracranial == (painted > 0)).mean() > 0.99
    assert result.device == "cpu"


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_every_storage_order_gives_the_same_anatomy(painted, order):
    expected = segment(painted, np.eye(4), network=ByBrightness(), flip=False, smallest=32)
    for signs in product((1, -1), repeat=3):
        stored, affine = with_axes(painted, order, signs)
        result = segment(stored, affine, network=ByBrightness(), flip=False, smallest=32)
        for name in ("labels", "posterior", "intracranial"):
            volume, _ = with_axes(getattr(expected, name), order, signs)
            np.testing.assert_array_equal(getattr(result, name), volume)
        assert result.soft_volumes_mm3 == pytest.approx(expected.soft_volumes_mm3)


@pytest.mark.parametrize("edges_mm", [(0.5, 1, 1), (1, 0.8, 2), (0.6, 0.6, 1.5)])
def test_volumes_do_not_depend_on_voxel_size(edges_mm):
    shape = np.round(30 / np.array(edges_mm)).astype(int)
    affine = np.diag([*edges_mm, 1.0])
    affine[:3, 3] = -(shape - 1) / 2 * edges_mm
    world = np.einsum("ij,j...->i...", affine, np.stack([*np.indices(shape), np.ones(shape)]))
    ball = (np.square(world[:3]).sum(0) < 10**2).astype(float)
    result = segment(ball, affine, network=Bright(), smallest=32)
    assert result.intracranial_mm3 == pytest.approx(
        4 / 3 * np.pi * 1000, rel=0.06
    )  # blurring shrinks a ball
    assert result.intracranial_mm3 == pytest.approx(sum(result.soft_volumes_mm3.values()))
    voxels_mm3 = result.intracranial.sum() * np.prod(edges_mm)
    assert voxels_mm3 == pytest.approx(4 / 3 * np.pi * 1000, rel=0.06)  # blurring shrinks a ball


def test_mirroring_commutes_with_the_flip_ensemble(painted):
    noisy = painted + np.random.default_rng(1).normal(0, 0.05, painted.shape)

    def both(flip):
        network = Anything()
        plain = segment(noisy, np.eye(4), network=network, flip=flip, smallest=32)
        turned = segment(noisy[::-1], np.eye(4), network=network, flip=flip, smallest=32)
        return plain, turned

    plain, turned = both(flip=True)
    sides = {label: mirrored(label) for label in SYNTHSEG_LABELS}
    assert len(plain.confidence) > 5
    expected = np.vectorize(sides.get)(plain.labels[::-1])
    assert (turned.labels != expected).mean() < 1e-3
    for label, volume in plain.soft_volumes_mm3.items():
        assert turned.soft_volumes_mm3[sides[label]] == pytest.approx(volume, rel=1e-3, abs=1)
    plain, turned = both(flip=False)
    assert (turned.labels != np.vectorize(sides.get)(plain.labels[::-1])).mean() > 0.1


def test_posteriors_are_interpolated_not_labels():
    # voxels of 0.5 mm lie at (v - 0.5) / 2 of the 1 mm grid: those above 20.8 are inside; the
    # nearest label would begin at 21.5
    volume = np.random.default_rng(0).random((64, 32, 32))
    affine = np.diag([0.5, 1, 1, 1])
    result = segment(volume, affine, network=HalfSpace(10.15), flip=False, smallest=32)
    assert (result.labels == 24).all((1, 2)).tolist() == [v > 20.8 for v in range(64)]
    assert (result.posterior >= 0.5).all()


def test_the_robust_variant_is_not_mirrored(painted):
    torch.manual_seed(1)
    groups, denoiser = UNet(1, 5, features=1), UNet(5, 5, features=1, kernel=5, unskipped=2)
    network = RobustSynthSeg(groups, denoiser, UNet(6, 33, features=1), SYNTHSEG_LABELS).eval()
    once, twice = (
        segment(painted, np.eye(4), network=network, flip=flip, smallest=32)
        for flip in (False, True)
    )
    np.testing.assert_array_equal(once.posterior, twice.posterior)


def test_without_fluid_there_is_no_intracranial_volume(painted):
    network = Anything()
    keep = [SYNTHSEG_LABELS.index(label) for label in SYNTHSEG1_LABELS]
    network.labels = SYNTHSEG1_LABELS
    network.forward = lambda image: Anything.forward(network, image)[:, keep]
    result = segment(painted, np.eye(4), network=network, smallest=32)
    assert np.isnan(result.intracranial_mm3)
    assert 24 not in result.soft_volumes_mm3


def test_parcels_replace_cortex():
    class Cortex(ByBrightness):
        labels = (0, 3, 16, 24, 42)

    volume = np.zeros((32, 24, 24))
    volume[4:28, 4:20, 4:20] = MIDLINE
    volume[6:16, 6:18, 6:18] = LEFT
    volume[16:26, 6:18, 6:18] = RIGHT
    whole = segment(volume, np.eye(4), network=Cortex(), flip=False, smallest=32)
    parts = segment(
        volume, np.eye(4), network=Cortex(), parcellation=Parcels(), flip=False, smallest=32
    )
    np.testing.assert_array_equal(parts.labels == 1024, whole.labels == 3)
    np.testing.assert_array_equal(parts.labels == 2035, whole.labels == 42)
    np.testing.assert_array_equal(parts.posterior, whole.posterior)
    parcels = sum(parts.soft_volumes_mm3[label] for label in PARC_LABELS[1:])
    assert parcels == pytest.approx(whole.soft_volumes_mm3[3] + whole.soft_volumes_mm3[42])
    assert parts.intracranial_mm3 == whole.intracranial_mm3
