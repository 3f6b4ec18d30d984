from dataclasses import fields, replace

import numpy as np
import pytest
from PIL import Image

from isdu_bids.quality.maps import ScanMaps
from isdu_bids.reports import figures
from isdu_bids.reports.figures import FIGURES, MAPS, draw_figures
from isdu_bids.reports.mosaic import View
from isdu_bids.reports.rows import choose_slices, through_nuclei

NAMES = [
    "desc-mosaic_Chimap.webp",
    "desc-masks_magnitude.webp",
    "desc-total_fieldmap.webp",
    "desc-local_fieldmap.webp",
    "desc-unexplained_fieldmap.webp",
    "desc-quality_phase.webp",
    "desc-classical_Chimap.webp",
    "desc-histogram_Chimap.svg",
    "desc-unwrapping_phase.webp",
    "desc-fit_phase.webp",
]


def pixels(path):
    if path.suffix == ".svg":
        return np.frombuffer(path.read_bytes(), np.uint8).astype(float)
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
    along_s = (0.0, 1.0, 0.0)
    return replace(scan, **changed, affine=scan.affine @ ras_of, b0_direction=along_s)


def test_every_figure_is_drawn_small_and_wide(drawn):
    assert [path.name for path in drawn] == [f"sub-01_{name}" for name in NAMES]
    for path in drawn:
        assert path.stat().st_size < 300_000
        if path.suffix != ".svg":
            assert pixels(path).shape[1] == 1400
            assert pixels(path).std() > 5


REGIONS = "sub-01_desc-regions_dseg.webp"


def colours(path):
    """How many pixels a pure hue has: (pallidum's blue, putamen's pink), on each half."""
    with Image.open(path) as picture:
        rgb = np.asarray(picture.convert("RGB"), dtype=int)[45:, :830]  # two axial slices
    near = [np.abs(rgb - hue).max(-1) < 90 for hue in ((12, 48, 255), (236, 13, 176))]
    return [(int(hue[:, :415].sum()), int(hue[:, 415:].sum())) for hue in near]


@pytest.fixture
def labelled(head) -> ScanMaps:
    """Cubes of 10 x 10 x 5 voxels: a pallidum on the left, a putamen on the right."""
    labels = np.zeros(head.chi_ppm.shape, dtype=np.int16)
    labels[7:14, 18:28, 10:15] = 13
    labels[22:29, 18:28, 10:15] = 51
    return replace(head, labels=labels)


def test_regions_are_outlined_on_magnitude_and_map(labelled, tmp_path):
    paths = draw_figures(labelled, tmp_path, "sub-01")
    assert [path.name for path in paths] == [*(f"sub-01_{n}" for n in NAMES[:6]), REGIONS,
                                             *(f"sub-01_{n}" for n in NAMES[6:])]  # fmt: skip
    for left, right in colours(tmp_path / REGIONS):
        assert left > 100
        assert right > 100


@pytest.fixture
def only_regions(monkeypatch):
    """Draw the one figure: all of them take seconds."""
    only = tuple(figure for figure in figures.FIGURES if figure.name == "desc-regions_dseg.webp")
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


def test_figures_do_not_depend_on_how_voxels_are_stored(head, drawn, tmp_path):
    for path, twin in zip(drawn, draw_figures(stored_otherwise(head), tmp_path, "s"), strict=True):
        np.testing.assert_array_equal(pixels(path), pixels(twin), err_msg=path.name)


@pytest.fixture
def only(monkeypatch):
    """Draw one figure: all of them take seconds."""

    def draw(scan, folder, name):
        kept = tuple(figure for figure in FIGURES if figure.name == name)
        monkeypatch.setattr(figures, "FIGURES", kept)
        return pixels(draw_figures(scan, folder, "sub-01")[0])

    return draw


def test_a_flipped_affine_flips_left_and_right(head, only, tmp_path):
    flip = np.diag([-1.0, 1, 1, 1])
    name = "desc-masks_magnitude.webp"
    tile, mirrored = (
        only(replace(head, affine=affine), tmp_path, name)[150:300, 542:742]  # middle tile
        for affine in (head.affine, flip @ head.affine)
    )
    assert tile[:, 100:].mean() > tile[:, :100].mean() + 10  # the right is brighter
    assert mirrored[:, 100:].mean() < mirrored[:, :100].mean() - 10


def test_the_chi_window_is_fixed(head, only, tmp_path):
    """Ten times the map must look different: nothing is stretched to the data."""
    name = "desc-mosaic_Chimap.webp"
    louder = only(replace(head, chi_ppm=head.chi_ppm * 10), tmp_path, name)
    assert louder.std() > 1.1 * only(head, tmp_path, name).std()


def test_maps_that_few_scans_have_are_drawn(head, labelled, tmp_path):
    volume = np.abs(head.chi_ppm)
    whole = replace(
        labelled,
        r2star=volume * 1e3,
        chi_sd=volume,
        field_sd_ppm=volume / 3,
        iterates=np.stack([volume, volume]),
        lambdas=(0.01, 0.02),
    )
    drawn = {path.name for path in draw_figures(whole, tmp_path, "sub-01")}
    assert drawn == {f"sub-01_{figure.name}" for figure in FIGURES}


def test_every_stage_shows_the_same_slices(head):
    """All figures of maps have one size, so that a reader can flip through them."""
    view = View.around(head.brain_mask, head.affine)
    slices = choose_slices(view, head.brain, None)
    sizes = {
        tuple(f.draw(head, view, slices).get_size_inches())
        for f in FIGURES
        if f.section == MAPS and not f.needs
    }
    assert len(sizes) == 1


def test_slices_are_cut_where_the_labels_say(head, labelled):
    view = View.around(head.brain_mask, head.affine)
    by_labels = choose_slices(view, head.brain, labelled.labels)
    assert view.position_mm("axial", by_labels["axial"][1]) == pytest.approx(0.0, abs=3)
    by_geometry = choose_slices(view, head.brain, None)
    assert by_geometry["sagittal"] == by_labels["sagittal"]
    assert all(0 < f < 1 for fractions in by_geometry.values() for f in fractions)


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
