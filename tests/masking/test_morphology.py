import numpy as np
import pytest

from isdu_bids.masking.morphology import (
    bounding_box,
    close_gaps,
    dilate,
    erode,
    fill_holes,
    largest_component,
)

SIZES = [(1.0, 1.0, 1.0), (0.6, 0.6, 2.0), (3.0, 3.0, 3.0)]


def ball(radius_mm, size, n_mm=60):
    axes = [np.arange(round(n_mm / s)) * s for s in size]
    axes = [axis - axis.mean() for axis in axes]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    return x**2 + y**2 + z**2 < radius_mm**2


def volume_mm3(mask, size):
    return mask.sum() * np.prod(size)


@pytest.mark.parametrize("size", SIZES)
def test_radii_are_millimetres_for_every_voxel_size(size):
    mask = ball(20, size)
    half_voxel = max(size) / 2
    for changed, radius in ((erode(mask, 5, size), 15), (dilate(mask, 5, size), 25)):
        found = (volume_mm3(changed, size) * 3 / (4 * np.pi)) ** (1 / 3)
        assert abs(found - radius) < half_voxel + 0.1


@pytest.mark.parametrize("size", SIZES)
def test_erosion_and_dilation_are_dual_and_ordered(size):
    mask = ball(15, size)
    assert np.array_equal(dilate(mask, 4, size), ~erode(~mask, 4, size))
    assert not (erode(mask, 4, size) & ~mask).any()
    assert not (mask & ~dilate(mask, 4, size)).any()
    assert not (dilate(erode(mask, 4, size), 4, size) & ~mask).any()


def test_zero_radius_and_full_masks_change_nothing():
    mask = ball(10, (1, 1, 1))
    full = np.ones_like(mask)
    np.testing.assert_array_equal(erode(mask, 0, (1, 1, 1)), mask)
    np.testing.assert_array_equal(erode(full, 5, (1, 1, 1)), full)
    np.testing.assert_array_equal(dilate(~full, 5, (1, 1, 1)), ~full)


def test_faces_of_the_volume_do_not_erode():
    mask = np.zeros((20, 20, 20), bool)
    mask[:, 5:15, 5:15] = True
    eroded = erode(mask, 2, (1, 1, 1))
    assert eroded[0, 10, 10]
    assert eroded[-1, 10, 10]


def test_closing_fills_a_narrow_gap_and_keeps_the_outline():
    mask = ball(20, (1, 1, 1))
    cut = mask.copy()
    cut[30] = False
    closed = close_gaps(cut, 2, (1, 1, 1))
    assert (closed & mask).sum() > 0.99 * mask.sum()
    assert not (closed & ~mask).any()


def test_closing_at_the_face_of_the_volume_does_not_leak():
    mask = np.zeros((12, 12, 12), bool)
    mask[:6] = True
    np.testing.assert_array_equal(close_gaps(mask, 3, (1, 1, 1)), mask)


def test_holes_are_filled_but_not_bays():
    mask = ball(15, (1, 1, 1))
    holed = mask.copy()
    holed[29:31, 29:31, 29:31] = False
    np.testing.assert_array_equal(fill_holes(holed), mask)
    bay = mask.copy()
    bay[30, 30, 30:] = False
    np.testing.assert_array_equal(fill_holes(bay), bay)


def test_largest_component():
    mask = np.zeros((10, 10, 10), bool)
    mask[:2], mask[5:9] = True, True
    expected = mask.copy()
    expected[:2] = False
    np.testing.assert_array_equal(largest_component(mask), expected)
    assert not largest_component(np.zeros_like(mask)).any()


def test_bounding_box_has_a_margin_inside_the_volume():
    mask = np.zeros((10, 10, 10), bool)
    mask[3:5, 0, 9] = True
    assert bounding_box(mask) == (slice(2, 6), slice(0, 2), slice(8, 11))
    assert mask[bounding_box(np.zeros_like(mask))].shape == mask.shape
