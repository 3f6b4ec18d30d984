import re
from math import nan

import numpy as np
import pytest

from isdu_bids.quality.record import all_flags
from isdu_bids.reports.regions import OUTLINES, regions_html
from isdu_bids.segmentation.labels import PARC_LABELS, SYNTHSEG_LABELS, named_region
from isdu_bids.segmentation.statistics import region_statistics


def rows_of(page):
    """Cells of the table by the name of the row."""
    rows = [re.findall(r"<t[hd]>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", page)]
    return {name: cells for name, *cells in rows}


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
    rows = rows_of(regions_html(table(volumes, r2star_per_s=r2star)))
    assert list(rows)[:3] == ["Region", "Left-Pallidum", "Right-Pallidum"]
    assert rows["Left-Putamen"] == ["0.80", "+0.1000 ± 0.0000", "+0.1000", "33.2", "50%"]
    assert rows["Right-Pallidum"] == ["0.80", "+0.2000 ± 0.0000", "+0.2000", "33.2", "100%"]
    assert rows["Left-Pallidum"] == ["0.00", "n/a", "n/a", "n/a", "n/a"]
    assert "Left-Hippocampus" not in rows  # among others that the .tsv has
    assert "Whole-Mask" not in rows


def test_without_relaxation_there_is_no_column_of_it(volumes):
    without, given = (
        rows_of(regions_html(table(volumes, r2star_per_s=r2star)))["Region"]
        for r2star in (None, np.ones(volumes[0].shape))
    )
    assert "R2* mean (1/s)" in given
    assert without == [name for name in given if not name.startswith("R2*")]


def test_null_of_json_is_no_value(volumes):
    columns = table(volumes)
    nothing = {
        name: [None if value is not None and value != value else value for value in values]
        for name, values in columns.items()
    }
    assert nothing != columns
    assert regions_html(nothing) == regions_html(columns)


@pytest.mark.parametrize("number", [12, 77])
def test_own_names_of_a_user_are_shown_and_never_ours(volumes, number):
    chi, labels, mask = volumes
    own = np.where(labels > 0, number, 0)
    regions = {number: named_region(number, "Red <nucleus>")}
    extra = {"regions": regions, "groups": {}, "csf_labels": (), "expected_labels": (number,)}
    page = regions_html(table((chi, own, mask), **extra))
    assert list(rows_of(page)) == ["Region", "Red &lt;nucleus&gt;"]


def test_no_segmentation_no_table():
    assert regions_html(None) == ""


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
