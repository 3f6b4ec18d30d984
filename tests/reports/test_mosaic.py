import numpy as np
import pytest
from nibabel.orientations import aff2axcodes

from isdu_bids.reports.mosaic import PLANES, Row, View, to_ras

#: Oblique, anisotropic, and with every axis somewhere else: S, L, A.
AFFINE = np.array([[0.1, -2.0, 0, 7], [-0.1, 0, 1.5, -3], [3.0, 0.1, 0.1, 11], [0, 0, 0, 1]])


def test_to_ras_keeps_every_voxel_where_it_is():
    volume = np.random.default_rng(0).normal(size=(2, 4, 5, 6))
    turned, affine = to_ras(volume, AFFINE)
    assert turned.shape == (2, 5, 6, 4)
    assert aff2axcodes(affine) == ("R", "A", "S")
    for index in [(0, 0, 0), (3, 1, 2), (1, 4, 5)]:
        world = AFFINE @ [*index, 1]
        i, j, k = np.round(np.linalg.solve(affine, world)[:3]).astype(int)
        np.testing.assert_array_equal(turned[:, i, j, k], volume[:, *index])


def test_to_ras_leaves_ras_alone():
    volume = np.arange(24.0).reshape(2, 3, 4)
    turned, affine = to_ras(volume, np.eye(4))
    np.testing.assert_array_equal(turned, volume)
    np.testing.assert_array_equal(affine, np.eye(4))


def test_view_measures_in_millimetres():
    mask = np.zeros((20, 20, 20), bool)
    mask[5:15, 6:16, 9:11] = True
    view = View.around(mask, np.diag([1.0, 2.0, 5.0, 1.0]))
    assert view.box == (slice(0, 20), slice(4, 18), slice(8, 12))  # 5 mm wider
    assert view.size_mm("axial") == (20, 28)
    assert view.size_mm("coronal") == (20, 20)
    assert view.size_mm("sagittal") == (28, 20)


def test_an_empty_mask_shows_the_whole_volume():
    view = View.around(np.zeros((3, 4, 5), bool), np.eye(4))
    assert view.box == (slice(0, 3), slice(0, 4), slice(0, 5))


@pytest.mark.parametrize(("plane", "expected"), [("axial", 2), ("coronal", 1), ("sagittal", 0)])
def test_pictures_show_right_and_anterior_on_the_right_and_up(plane, expected):
    shape = (3, 4, 5)
    coordinates = np.stack(np.indices(shape))
    view = View.around(np.ones(shape, bool), np.eye(4))
    across, up = (axis for axis in range(3) if axis != expected)
    assert PLANES[plane][0] == expected
    for axis, volume in enumerate(coordinates):
        picture = view.picture(Row(volume, plane, [0, 1]))
        first, last = picture[:, : shape[across]], picture[:, shape[across] :]
        if axis == across:
            np.testing.assert_array_equal(first[0], np.arange(shape[across]))
        elif axis == up:
            np.testing.assert_array_equal(first[:, 0], np.arange(shape[up]))
        else:
            assert (first == 0).all()
            assert (last == shape[axis] - 1).all()


def test_rows_are_centred_and_do_not_overlap():
    view = View.around(np.ones((10, 20, 8), bool), np.eye(4))
    volume = np.zeros((10, 20, 8))
    rows = [Row(volume, "axial", [0.2, 0.5, 0.8]), Row(volume, "sagittal", [0.5])]
    width, height = view.canvas_mm(rows)
    (_, first), (_, second) = view.places(rows)
    assert first[:2] == (0, width) == (0, 30)
    assert second[:2] == (5, 25)
    assert second[3] < first[2]
    assert second[2] == -height
