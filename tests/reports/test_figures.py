from dataclasses import fields, replace

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from isdu_bids.quality.maps import ScanMaps
from isdu_bids.reports import figures
from isdu_bids.reports.figures import draw_figures
from isdu_bids.reports.mosaic import View
from isdu_bids.reports.page import save_figure
from isdu_bids.reports.rows import through_nuclei

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


def stored_otherwise(scan: ScanMaps) -> ScanMaps:
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


REGIONS = "sub-01_desc-regions_dseg.png"


def colours(path):
    """How many pixels a pure hue has: (pallidum's blue, putamen's pink), on each half."""
    with Image.open(path) as picture:
        rgb = np.asarray(picture.convert("RGB"), dtype=int)[40:, :995]  # legend is on the right
    near = [np.abs(rgb - hue).max(-1) < 60 for hue in ((12, 48, 255), (236, 13, 176))]
    return [(int(hue[:, :500].sum()), int(hue[:, 500:].sum())) for hue in near]


@pytest.fixture
def labelled(head) -> ScanMaps:
    """Cubes of 10 x 10 x 5 voxels: a pallidum on the left, a putamen on the right."""
    labels = np.zeros(head.chi_ppm.shape, dtype=np.int16)
    labels[7:14, 18:28, 10:15] = 13
    labels[22:29, 18:28, 10:15] = 51
    return replace(head, labels=labels)


def test_regions_are_outlined_on_magnitude_and_map(labelled, tmp_path):
    paths = draw_figures(labelled, tmp_path, "sub-01")
    assert [path.name for path in paths[:-1]] == [f"sub-01_{name}.png" for name in NAMES]
    assert paths[-1].name == REGIONS
    assert paths[-1].stat().st_size < 700_000
    for left, right in colours(paths[-1]):
        assert left > 100
        assert right > 100


@pytest.fixture
def only_regions(monkeypatch):
    """Draw the one figure: all of them take seconds."""
    only = tuple(figure for figure in figures.FIGURES if figure.name == "desc-regions_dseg")
    monkeypatch.setattr(figures, "FIGURES", only)


@pytest.mark.usefixtures("only_regions")
def test_a_region_that_is_missing_has_no_outline(labelled, tmp_path):
    labels = np.where(labelled.labels == 13, 0, labelled.labels)
    draw_figures(replace(labelled, labels=labels), tmp_path, "sub-01")
    pallidum, putamen = colours(tmp_path / REGIONS)
    assert pallidum == (0, 0)
    assert min(putamen) > 100


@pytest.mark.usefixtures("only_regions")
def test_outlines_do_not_depend_on_how_voxels_are_stored(labelled, tmp_path):
    first = draw_figures(labelled, tmp_path / "a", "sub-01")[-1]
    second = draw_figures(stored_otherwise(labelled), tmp_path / "b", "sub-01")[-1]
    np.testing.assert_array_equal(pixels(first), pixels(second))


@pytest.mark.parametrize("label", [0, 16, 9999])
@pytest.mark.usefixtures("only_regions")
def test_slices_are_chosen_without_nuclei_too(labelled, tmp_path, label):
    drawn = draw_figures(replace(labelled, labels=labelled.labels * 0 + label), tmp_path, "sub-01")
    assert drawn[-1].name == REGIONS


def test_slices_go_through_the_nuclei(labelled):
    view = View.around(labelled.brain_mask, labelled.affine)
    for row in through_nuclei(labelled.labels, view):
        n_tiles = np.size(row.fractions)
        for tile in np.split(view.picture(row), n_tiles, axis=1):
            assert set(np.unique(tile)) == {0, 13, 51}


@pytest.mark.usefixtures("only_regions")
def test_outlines_of_an_earlier_run_are_removed(head, labelled, tmp_path):
    """They would be shown beside a map that they do not belong to."""
    draw_figures(labelled, tmp_path, "sub-01")
    assert (tmp_path / REGIONS).exists()
    draw_figures(head, tmp_path, "sub-01")
    assert not (tmp_path / REGIONS).exists()


def test_large_figures_keep_the_hues_of_thin_lines(tmp_path):
    """256 colours are shared out by pixels: greys and the many red ones would get all of them."""
    figure = Figure(figsize=(11, 8))
    axes = figure.add_axes((0, 0, 1, 1))
    noise = np.random.default_rng(0).uniform(size=(800, 1100))
    axes.imshow(noise, cmap="gray", extent=(0, 11, 0, 8))
    for x in np.linspace(0.1, 10.9, 60):
        axes.plot([x, x + 0.05], [0, 7], color="#cd3e4e", linewidth=0.8)
    for left in (1, 7):
        axes.plot([left, left + 1.4], [7.3, 7.4], color="#0c30ff", linewidth=1.5)
        axes.plot([left, left + 1.4], [7.5, 7.6], color="#ec0db0", linewidth=1.5)
    save_figure(figure, tmp_path / "noise.png")
    with Image.open(tmp_path / "noise.png") as picture:
        assert picture.mode == "P"
    for left, right in colours(tmp_path / "noise.png"):
        assert min(left, right) > 100


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
    names = ("magnitude", "unwrapped", "total_field_ppm", "local_field_ppm", "chi_ppm")
    empty = {name: getattr(head, name) * np.nan for name in names}
    assert draw_figures(replace(head, **empty), tmp_path, "sub-01")


def test_empty_masks_are_drawn_as_nothing(head, tmp_path):
    empty = np.zeros_like(head.brain_mask)
    assert draw_figures(replace(head, brain_mask=empty, eroded_mask=empty), tmp_path, "sub-01")


def test_a_single_echo_is_drawn(head, tmp_path):
    one = {name: getattr(head, name)[:1] for name in ("magnitude", "phase", "unwrapped")}
    assert draw_figures(replace(head, **one, echo_times_s=(0.02,)), tmp_path, "sub-01")
