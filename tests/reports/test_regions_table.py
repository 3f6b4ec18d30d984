import re
from math import nan

import numpy as np
import pytest

from isdu_bids.quality.record import all_flags
from isdu_bids.reports.regions import OUTLINES, region_rows, strip_place
from isdu_bids.segmentation.labels import PARC_LABELS, SYNTHSEG_LABELS, named_region
from isdu_bids.segmentation.statistics import region_statistics


def rows_of(table):
    """Values of the table by name and side of the row."""
    return {(row.name, value.side): value for row in region_rows(table) for value in row.sides}


@pytest.fixture(scope="module")
def volumes():
    """A left putamen of 0.1 ppm, half of it inside the mask, and a right pallidum of 0.2 ppm."""
    labels = np.zeros((4, 10, 10), dtype=np.int16)
    labels[0], labels[2] = 12, 52
    mask = np.ones(labels.shape, dtype=bool)
    mask[0, :5] = False
    chi = np.choose(labels == 12, [0.2, 0.1]) * (labels > 0)
    return chi, labels, mask


def table(volumes, **extra):
    return region_statistics(*volumes, voxel_volume_mm3=8.0, **extra).table


def test_values_are_those_of_the_regions(volumes):
    r2star = np.full(volumes[0].shape, 33.25)
    rows = rows_of(table(volumes, r2star_per_s=r2star))
    putamen, pallidum = rows["Putamen", "left"], rows["Pallidum", "right"]
    assert (putamen.chi, putamen.median, putamen.coverage) == ("+0.100 ± 0.000", "+0.100", "50 %")
    assert (putamen.r2star, putamen.volume) == ("33.2", "0.80")
    assert (pallidum.chi, pallidum.coverage) == ("+0.200 ± 0.000", "100 %")
    assert rows["Pallidum", "left"].chi == rows["Pallidum", "left"].coverage == "n/a"
    assert next(iter(rows)) == ("Pallidum", "left")
    names = {name for name, _ in rows}
    assert not names & {"Hippocampus", "Whole-Mask"}  # among others that the .tsv has


def test_values_stand_against_what_is_expected(volumes):
    rows = {row.name: row for row in region_rows(table(volumes))}
    low, high = rows["Putamen"].expected
    assert low < rows["Putamen"].sides[0].place < high
    low, high = rows["Pallidum"].expected
    assert not low < rows["Pallidum"].sides[1].place < high  # 0.2 ppm
    assert rows["Thalamus"].expected is None
    assert strip_place(-9) == 0
    assert strip_place(9) == 100


def test_little_inside_the_map_is_marked(volumes):
    chi, labels, mask = volumes
    mask = mask.copy()
    mask[0, :8] = False
    rows = rows_of(table((chi, labels, mask)))
    assert rows["Putamen", "left"].is_partial
    assert not rows["Pallidum", "right"].is_partial


def test_null_of_json_is_no_value(volumes):
    columns = table(volumes)
    nothing = {
        name: [None if value is not None and value != value else value for value in values]
        for name, values in columns.items()
    }
    assert nothing != columns
    assert region_rows(nothing) == region_rows(columns)


@pytest.mark.parametrize("number", [12, 77])
def test_own_names_of_a_user_are_shown_and_never_ours(volumes, number):
    chi, labels, mask = volumes
    own = np.where(labels > 0, number, 0)
    regions = {number: named_region(number, "Red <nucleus>")}
    extra = {"regions": regions, "groups": {}, "csf_labels": (), "expected_labels": (number,)}
    assert list(rows_of(table((chi, own, mask), **extra))) == [("Red <nucleus>", "")]


def test_no_segmentation_no_table():
    assert region_rows(None) == []


def test_outlines_hold_every_label_once():
    """All but white matter, fluid, and what lies hidden under the cortex."""
    labels = [label for outline in OUTLINES for label in outline.labels]
    assert len(set(labels)) == len(labels)
    hidden = {0, 2, 41, 24, 17, 53, 18, 54}
    assert set(labels) | hidden == {*SYNTHSEG_LABELS, *PARC_LABELS}
    for outline in OUTLINES:
        assert re.fullmatch("#[0-9a-f]{6}", outline.colour), outline.name
    assert len({outline.colour for outline in OUTLINES}) == len(OUTLINES)


def test_remarks_on_the_segmentation_are_among_the_flags():
    bad = {"region_coverage_putamen": 0.1, "region_volume_caudate_mm3": nan}
    names = {flag.name for flag in all_flags([], bad)} - {flag.name for flag in all_flags([], {})}
    assert names == {"region_coverage", "region_not_measured"}
