from dataclasses import fields, replace

import numpy as np
import pytest
from PIL import Image

from isdu_bids.reports.figures import ScanFigures, draw_figures

NAMES = [
    "desc-masks_magnitude",
    "desc-unwrapping_phase",
    "desc-quality_phase",
    "desc-total_fieldmap",
    "desc-local_fieldmap",
    "desc-mosaic_Chimap",
    "desc-histogram_Chimap",
]


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("L"), dtype=float)


def stored_otherwise(scan: ScanFigures) -> ScanFigures:
    """The same head with its voxels stored in the order P, S, L."""
    changed = {}
    for field in fields(scan):
        value = getattr(scan, field.name)
        if isinstance(value, np.ndarray) and field.name != "affine":
            changed[field.name] = np.moveaxis(value[..., ::-1, ::-1, :], -3, -1)
    x, y = np.array(scan.chi_ppm.shape[:2]) - 1
    ras_of = np.array([[0, 0, -1, x], [-1, 0, 0, y], [0, 1, 0, 0], [0, 0, 0, 1.0]])
    return replace(scan, **changed, affine=scan.affine @ ras_of)


def test_every_figure_is_drawn_small_and_wide(head, tmp_path):
    paths = draw_figures(head, tmp_path / "figures", "sub-01_run-2")
    assert [path.name for path in paths] == [f"sub-01_run-2_{name}.png" for name in NAMES]
    for path in paths:
        assert path.stat().st_size < 700_000
        assert pixels(path).shape[1] == 1100
        assert pixels(path).std() > 5


def test_labels_are_drawn_where_given(head, tmp_path):
    labelled = replace(head, dseg=head.brain_mask.astype(int) * 17)
    assert draw_figures(labelled, tmp_path, "sub-01")[-1].name == "sub-01_desc-labels_dseg.png"


def test_figures_do_not_depend_on_how_voxels_are_stored(head, tmp_path):
    one = draw_figures(head, tmp_path / "a", "sub-01")
    other = draw_figures(stored_otherwise(head), tmp_path / "b", "sub-01")
    for path, twin in zip(one, other, strict=True):
        np.testing.assert_array_equal(pixels(path), pixels(twin), err_msg=path.name)


def test_a_flipped_affine_flips_left_and_right(head, tmp_path):
    flip = np.diag([-1.0, 1, 1, 1])
    path, *_ = draw_figures(head, tmp_path / "a", "sub-01")
    flipped, *_ = draw_figures(replace(head, affine=flip @ head.affine), tmp_path / "b", "sub-01")
    tile = pixels(path)[60:160, 20:140], pixels(flipped)[60:160, 20:140]
    assert tile[0][:, 60:].mean() > tile[0][:, :60].mean() + 10  # the right is brighter
    assert tile[1][:, 60:].mean() < tile[1][:, :60].mean() - 10


@pytest.mark.parametrize("name", ["chi_ppm", "local_field_ppm", "total_field_ppm", "magnitude"])
def test_nan_is_drawn_as_nothing(head, tmp_path, name):
    draw_figures(replace(head, **{name: getattr(head, name) * np.nan}), tmp_path, "sub-01")


def test_empty_masks_are_drawn_as_nothing(head, tmp_path):
    empty = np.zeros_like(head.brain_mask)
    assert draw_figures(replace(head, brain_mask=empty, eroded_mask=empty), tmp_path, "sub-01")


def test_a_single_echo_is_drawn(head, tmp_path):
    one = {name: getattr(head, name)[:1] for name in ("magnitude", "wrapped_rad", "unwrapped_rad")}
    assert draw_figures(replace(head, **one, echo_times_s=(0.02,)), tmp_path, "sub-01")


def test_the_chi_window_is_fixed(head, tmp_path):
    """Ten times the map must look different: no stretching to the data."""
    *_, path, _ = draw_figures(head, tmp_path / "a", "sub-01")
    *_, louder, _ = draw_figures(replace(head, chi_ppm=head.chi_ppm * 10), tmp_path / "b", "sub-01")
    assert pixels(louder).std() > 1.1 * pixels(path).std()
