"""The networks' grid and the way back."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from isdu_bids.errors import DataError
from isdu_bids.segmentation.conform import conform


def bump(shape, affine):
    """A smooth, lopsided volume, as a function of world coordinates."""
    world = np.einsum("ij,j...->i...", affine, np.stack([*np.indices(shape), np.ones(shape)]))
    x, y, z = world[:3] - world[:3].mean((1, 2, 3), keepdims=True)
    return np.exp(-((x - 3) ** 2 / 60 + (y + 2) ** 2 / 90 + z**2 / 50))


def scaled(volume):
    low, high = np.percentile(volume, [0.5, 99.5])
    return (np.clip(volume, low, high) - low) / (high - low)


def affine_of(edges_mm, turn_deg=(0, 0, 0)):
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", turn_deg, degrees=True).as_matrix() * edges_mm
    affine[:3, 3] = 5, -7, 11
    return affine


@pytest.mark.parametrize(
    ("shape", "edges_mm", "turn_deg"),
    [
        ((30, 33, 28), (1, 1.04, 0.97), (0, 0, 0)),
        ((44, 40, 15), (0.7, 0.8, 2.0), (0, 0, 0)),
        ((20, 33, 40), (-1.5, 1, -0.8), (0, 0, 0)),
        ((30, 33, 28), (1, 1.2, 1), (25, -15, 30)),
        ((30, 28, 33), (1, 1, 1.2), (90, 20, 0)),
    ],
)
def test_there_and_back(shape, edges_mm, turn_deg):
    affine = affine_of(edges_mm, turn_deg)
    volume = bump(shape, affine)
    conformed = conform(volume, affine, smallest=32)
    back = conformed.on_input_grid(conformed.image[conformed.inner]).numpy()
    assert back.shape == shape
    # what linear interpolation of this bump may lose, twice
    assert np.abs(back - scaled(volume)).max() < 0.03
    assert all(edge % 32 == 0 for edge in conformed.image.shape)
    total = np.prod(shape) * np.prod(np.abs(edges_mm))
    inner_mm3 = conformed.image[conformed.inner].numel() * conformed.voxel_mm3
    assert inner_mm3 == pytest.approx(total, rel=0.07)  # sizes are rounded up


def test_axes_run_right_anterior_superior():
    affine = np.array([[0, 0, -1.1, 4], [1.2, 0, 0, 5], [0, -1.3, 0, 6], [0, 0, 0, 1.0]])
    conformed = conform(bump((20, 21, 22), affine), affine, smallest=32)
    assert conformed.axes == (2, 0, 1)
    rising = [bool(row[1] > row[0]) for row in conformed.positions]
    assert rising == [False, True, False]


def test_outer_edges_coincide():
    ramp = np.arange(8.0)[:, None, None] * np.ones((1, 6, 6))
    conformed = conform(ramp, np.diag([2.0, 1, 1, 1]), smallest=32)
    profile = conformed.image[conformed.inner][:, 3, 3]
    assert len(profile) == 16
    torch.testing.assert_close(profile + profile.flip(0), torch.ones(16))
    # new centres 0.25 voxels around old ones; clamped at the edges
    torch.testing.assert_close(profile[1:4] * 7, torch.tensor([0.25, 0.75, 1.25]))


def test_coarsening_filters_first():
    # a plane of one voxel of 0.5 mm: a Gaussian of 0.5 voxels leaves 0.787 of it, 0.107 beside it
    plane = np.zeros((64, 8, 8))
    plane[32] = 1
    conformed = conform(plane, np.diag([0.5, 1, 1, 1]), smallest=32)
    profile = conformed.image[conformed.inner][:, 4, 4]
    assert len(profile) == 32
    assert profile[16] == pytest.approx(1)
    assert profile[15] == pytest.approx(0.107 / (0.787 + 0.107), abs=0.01)


def test_padding_is_centred():
    conformed = conform(np.random.default_rng(0).random((33, 40, 64)), np.eye(4), smallest=48)
    assert conformed.image.shape == (64, 64, 64)
    assert [(part.start, part.stop) for part in conformed.inner] == [(15, 48), (12, 52), (0, 64)]
    outside = conformed.image.clone()
    outside[conformed.inner] = 0
    assert not outside.any()


def test_intensities_are_clipped_and_scaled():
    volume = np.random.default_rng(0).normal(100, 20, (32, 32, 32))
    volume[0, 0, 0], volume[1, 1, 1] = 1e6, np.nan
    image = conform(volume, np.eye(4), smallest=32).image
    assert (image.min(), image.max()) == (0, 1)
    assert image.median() == pytest.approx(0.5, abs=0.02)
    assert not conform(np.full((8, 8, 8), 3.0), np.eye(4), smallest=32).image.any()


@pytest.mark.parametrize(
    ("volume", "affine"),
    [(np.zeros((4, 4)), np.eye(4)), (np.zeros((4, 4, 4)), np.diag([1.0, 0, 1, 1]))],
)
def test_bad_input_is_refused(volume, affine):
    with pytest.raises(DataError):
        conform(volume, affine)
