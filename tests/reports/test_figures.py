from dataclasses import fields, replace

import numpy as np
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


def test_every_figure_is_drawn_small_and_wide(drawn):
    assert [path.name for path in drawn] == [f"sub-01_{name}.png" for name in NAMES]
    for path in drawn:
        assert path.stat().st_size < 700_000
        assert pixels(path).shape[1] == 1100
        assert pixels(path).std() > 5


def test_labels_are_drawn_where_given(head, tmp_path):
    labelled = replace(head, dseg=head.brain_mask.astype(int) * 17)
    paths = draw_figures(labelled, tmp_path, "sub-01_run-2")
    assert paths[-1].name == "sub-01_run-2_desc-labels_dseg.png"


def test_figures_do_not_depend_on_how_voxels_are_stored(head, drawn, tmp_path):
    for path, twin in zip(drawn, draw_figures(stored_otherwise(head), tmp_path, "s"), strict=True):
        np.testing.assert_array_equal(pixels(path), pixels(twin), err_msg=path.name)


def test_a_flipped_affine_flips_left_and_right(head, drawn, tmp_path):
    flip = np.diag([-1.0, 1, 1, 1])
    flipped = draw_figures(replace(head, affine=flip @ head.affine), tmp_path, "sub-01")
    tile, mirrored = (pixels(paths[0])[60:160, 20:140] for paths in (drawn, flipped))
    assert tile[:, 60:].mean() > tile[:, :60].mean() + 10  # the right is brighter
    assert mirrored[:, 60:].mean() < mirrored[:, :60].mean() - 10


def test_the_chi_window_is_fixed(head, drawn, tmp_path):
    """Ten times the map must look different: nothing is stretched to the data."""
    louder = draw_figures(replace(head, chi_ppm=head.chi_ppm * 10), tmp_path, "sub-01")
    chi = NAMES.index("desc-mosaic_Chimap")
    assert pixels(louder[chi]).std() > 1.1 * pixels(drawn[chi]).std()


def test_nan_is_drawn_as_nothing(head, tmp_path):
    names = ("magnitude", "unwrapped_rad", "total_field_ppm", "local_field_ppm", "chi_ppm")
    empty = {name: getattr(head, name) * np.nan for name in names}
    assert draw_figures(replace(head, **empty), tmp_path, "sub-01")


def test_empty_masks_are_drawn_as_nothing(head, tmp_path):
    empty = np.zeros_like(head.brain_mask)
    assert draw_figures(replace(head, brain_mask=empty, eroded_mask=empty), tmp_path, "sub-01")


def test_a_single_echo_is_drawn(head, tmp_path):
    one = {name: getattr(head, name)[:1] for name in ("magnitude", "wrapped_rad", "unwrapped_rad")}
    assert draw_figures(replace(head, **one, echo_times_s=(0.02,)), tmp_path, "sub-01")
