import math

import numpy as np
import pytest

from isdu_bids.bids.tables import tsv
from isdu_bids.errors import DataError
from isdu_bids.segmentation.labels import GROUPS, SYNTHSEG_LABELS
from isdu_bids.segmentation.statistics import (
    STATISTICS_COLUMNS,
    WHOLE_MASK,
    region_statistics,
)

SHAPE = (12, 10, 8)


@pytest.fixture
def scan():
    """Random labels and maps, and a mask that leaves out a rim."""
    random = np.random.default_rng(3)
    labels = random.choice([0, 2, 41, 4, 43, 11, 50, 99], SHAPE).astype(np.int16)
    mask = np.zeros(SHAPE, bool)
    mask[1:-1, 1:-1, 1:] = True
    chi = 0.05 * random.standard_normal(SHAPE).astype(np.float32)
    r2star = random.uniform(5, 50, SHAPE).astype(np.float32)
    return {
        "chi_ppm": chi,
        "labels": labels,
        "mask": mask,
        "r2star_per_s": r2star,
        "posterior": random.uniform(0.3, 1, SHAPE).astype(np.float32),
        "voxel_volume_mm3": 2.0,
    }


def rows(**scan):
    table = region_statistics(**scan).table
    assert list(table) == list(STATISTICS_COLUMNS)
    assert len({len(values) for values in table.values()}) == 1
    cells = zip(*table.values(), strict=True)
    return {row["name"]: row for row in (dict(zip(table, c, strict=True)) for c in cells)}


def number(row):
    return {k: v for k, v in row.items() if k not in ("index", "name", "hemisphere")}


def test_values_of_one_region(scan):
    scan["r2star_per_s"][3] = 0  # not fitted
    row = rows(**scan)["Left-Caudate"]
    region = scan["labels"] == 11
    where = region & scan["mask"]
    chi, weight, r2star = (scan[k][where] for k in ("chi_ppm", "posterior", "r2star_per_s"))
    assert (row["index"], row["hemisphere"], row["n_voxels"]) == (11, "L", where.sum())
    assert row["volume_mm3"] == 2.0 * region.sum()
    assert row["coverage"] == where.sum() / region.sum() < 1
    expected = {
        "chi_mean_ppm": chi.mean(),
        "chi_median_ppm": np.median(chi),
        "chi_sd_ppm": chi.std(),
        "chi_iqr_ppm": np.subtract(*np.percentile(chi, [75, 25])),
        "chi_p05_ppm": np.percentile(chi, 5),
        "chi_p95_ppm": np.percentile(chi, 95),
        "chi_weighted_mean_ppm": (chi * weight).sum() / weight.sum(),
        "chi_positive_mean_ppm": chi[chi > 0].mean(),
        "chi_negative_mean_ppm": chi[chi < 0].mean(),
        "r2star_mean_per_s": r2star[r2star > 0].mean(),
        "r2star_median_per_s": np.median(r2star[r2star > 0]),
        "r2star_sd_per_s": r2star[r2star > 0].std(),
    }
    assert {k: row[k] for k in expected} == pytest.approx(expected, rel=1e-4)


def test_every_label_group_and_the_mask_have_a_row(scan):
    table = region_statistics(**scan).table
    assert table["index"][: len(SYNTHSEG_LABELS)] == [*SYNTHSEG_LABELS[1:], 99]
    assert table["name"][len(SYNTHSEG_LABELS) :] == [*GROUPS, WHOLE_MASK]
    by_name = rows(**scan)
    assert by_name["label-99"]["n_voxels"] > 0
    assert by_name[WHOLE_MASK]["n_voxels"] == scan["mask"].sum()
    assert by_name[WHOLE_MASK]["chi_mean_ppm"] == pytest.approx(
        scan["chi_ppm"][scan["mask"]].mean()
    )
    assert by_name["Right-White-Matter"]["hemisphere"] == "R"
    assert by_name["Caudate"]["hemisphere"] is None


def test_group_is_the_union_of_its_parts(scan):
    merged = {**scan, "labels": np.where(scan["labels"] == 50, 11, scan["labels"])}
    assert number(rows(**scan)["Caudate"]) == pytest.approx(number(rows(**merged)["Left-Caudate"]))
    left, right = (rows(**scan)[f"{side}-Caudate"] for side in ("Left", "Right"))
    assert rows(**scan)["Caudate"]["volume_mm3"] == left["volume_mm3"] + right["volume_mm3"]


def test_parcels_make_up_the_cortex(scan):
    labels = scan["labels"]
    whole = rows(**{**scan, "labels": np.where(labels == 2, 3, labels)})
    half = np.indices(SHAPE)[0] < 6
    parts = rows(**{**scan, "labels": np.where(labels == 2, np.where(half, 1001, 1035), labels)})
    assert parts["ctx-lh-insula"]["n_voxels"] > 0
    for name in ("Left-Cerebral-Cortex", "Left-Grey-Matter", "Cerebral-Cortex"):
        assert number(parts[name]) == pytest.approx(number(whole[name]), nan_ok=True)


def test_a_shift_of_the_map_moves_means_but_nothing_referenced(scan):
    before = rows(**scan)["Left-Caudate"]
    after = rows(**{**scan, "chi_ppm": scan["chi_ppm"].astype(float) + 1})["Left-Caudate"]
    for column in ("mean", "median", "p05", "p95", "weighted_mean"):
        assert after[f"chi_{column}_ppm"] == pytest.approx(before[f"chi_{column}_ppm"] + 1)
    for column in ("sd", "iqr", "mean_brain_referenced", "mean_csf_referenced"):
        assert after[f"chi_{column}_ppm"] == pytest.approx(before[f"chi_{column}_ppm"], abs=1e-7)


def test_order_of_axes_does_not_matter(scan):
    turned = {k: v.transpose(2, 0, 1)[::-1] if np.ndim(v) else v for k, v in scan.items()}
    for name, row in rows(**scan).items():
        assert number(rows(**turned)[name]) == pytest.approx(number(row), nan_ok=True)


def test_equal_weights_weigh_nothing(scan):
    for row in rows(**{**scan, "posterior": np.ones(SHAPE)}).values():
        assert row["chi_weighted_mean_ppm"] == pytest.approx(row["chi_mean_ppm"], nan_ok=True)


def test_region_that_is_nowhere_or_outside_the_mask(scan):
    scan["labels"][scan["labels"] == 99] = 0
    scan["labels"][0, 0, 0] = 13
    nowhere, outside = (rows(**scan)[name] for name in ("Left-Putamen", "Left-Pallidum"))
    assert (nowhere["n_voxels"], nowhere["volume_mm3"], nowhere["coverage"]) == (0, 0, None)
    assert (outside["n_voxels"], outside["volume_mm3"], outside["coverage"]) == (0, 2.0, 0)
    for row in (nowhere, outside):
        assert all(math.isnan(v) for k, v in row.items() if k.endswith(("_ppm", "_per_s")))
    text = tsv(region_statistics(**scan).table)
    assert "nan" not in text
    assert "12\tLeft-Putamen\tL\t0\t0\tn/a\tn/a" in text


def test_empty_mask_leaves_no_value(scan):
    result = region_statistics(**{**scan, "mask": np.zeros(SHAPE, bool)})
    assert set(result.table["n_voxels"]) == {0}
    assert all(math.isnan(value) for value in result.table["chi_mean_ppm"])
    assert math.isnan(result.brain_reference.mean_ppm)


def test_without_r2star_and_posterior(scan):
    row = rows(**{**scan, "r2star_per_s": None, "posterior": None})["Left-Caudate"]
    assert math.isnan(row["r2star_mean_per_s"])
    assert math.isnan(row["chi_weighted_mean_ppm"])
    assert math.isfinite(row["chi_mean_ppm"])


def test_ventricles_are_eroded_where_enough_remains():
    labels = np.zeros((20, 20, 20), np.int16)
    labels[3:15, 3:15, 3:15] = 4
    chi = np.where(labels == 4, 0.3, 0.1)
    chi[4:14, 4:14, 4:14] = 0.5  # the core; partial volume of the rim
    mask = np.ones(labels.shape, bool)
    large = region_statistics(chi, labels, mask, voxel_volume_mm3=1.0).csf_reference
    assert (large.mean_ppm, large.n_voxels) == (pytest.approx(0.5), 1000)
    assert "eroded" in large.region
    small = region_statistics(chi, labels, mask, voxel_volume_mm3=0.9).csf_reference
    assert (small.mean_ppm, small.n_voxels) == (pytest.approx(chi[labels == 4].mean()), 12**3)
    assert "eroded" not in small.region
    result = region_statistics(chi, labels, mask, voxel_volume_mm3=1.0)
    at = result.table["name"].index(WHOLE_MASK)
    assert result.table["chi_mean_csf_referenced_ppm"][at] == pytest.approx(chi.mean() - 0.5)
    assert result.table["chi_mean_brain_referenced_ppm"][at] == pytest.approx(0)


@pytest.mark.parametrize("name", ["chi_ppm", "r2star_per_s", "posterior"])
def test_not_finite_is_refused_inside_the_mask_only(scan, name):
    scan[name][0, 0, 0] = np.nan
    region_statistics(**scan)
    scan[name][5, 5, 5] = np.nan
    with pytest.raises(DataError, match="1 voxels inside the mask"):
        region_statistics(**scan)


def test_labels_on_another_grid_or_smoothed_are_refused(scan):
    with pytest.raises(DataError, match="resample"):
        region_statistics(**{**scan, "labels": scan["labels"][1:]})
    with pytest.raises(DataError, match="whole numbers"):
        region_statistics(**{**scan, "labels": scan["labels"] + 0.5})
    as_float = rows(**{**scan, "labels": scan["labels"].astype(np.float32)})["Left-Caudate"]
    assert as_float == rows(**scan)["Left-Caudate"]


def test_every_column_is_described():
    assert all(column["Description"] for column in STATISTICS_COLUMNS.values())
    for name, unit in (("_ppm", "ppm"), ("_per_s", "1/s"), ("_mm3", "mm^3")):
        assert {c.get("Units") for n, c in STATISTICS_COLUMNS.items() if n.endswith(name)} == {unit}
