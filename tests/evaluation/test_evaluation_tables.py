from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from isdu_bids.errors import DataError
from isdu_bids.evaluation.regions import region_scores, region_table
from isdu_bids.evaluation.tables import (
    SCORE_COLUMNS,
    method_by_metric,
    paired_t_tests,
    summarise,
    to_html,
    to_markdown,
)


def long_table(values, metric="m", family="f"):
    """Scores from method -> value of each subject; None: that subject was not scored."""
    rows = [
        (f"sub-{i}", method, family, metric, value)
        for method, of_subjects in values.items()
        for i, value in enumerate(of_subjects)
        if value is not None
    ]
    return pd.DataFrame(rows, columns=SCORE_COLUMNS)


# ---- regions


@pytest.fixture
def labelled():
    """Two regions, means 0 and 1 in truth; the map is flatter by half and 0.1 too high."""
    labels = np.zeros((6, 6, 6), int)
    labels[:2], labels[2:4] = 3, 7
    ripple = 0.1 * np.where(np.indices((6, 6, 6)).sum(0) % 2, 1, -1)
    truth = (labels == 7) + ripple
    return 0.5 * truth + 0.1, truth, np.ones((6, 6, 6), bool), labels


def test_regions_by_hand(labelled):
    table = region_table(*labelled, names={7: "pallidum"}).set_index("index")
    assert list(table.index) == [3, 7]  # not the background
    assert list(table["name"]) == ["label-3", "pallidum"]
    assert table.loc[7].drop("name").to_dict() == pytest.approx(
        {
            "n_voxels": 72,
            "mean_ppm": 0.6,
            "sd_ppm": 0.05,
            "truth_mean_ppm": 1,
            "truth_sd_ppm": 0.1,
            "bias_ppm": -0.4,
            "pearson_r": 1,
            "slope": 0.5,
        }
    )
    assert region_scores(*labelled) == pytest.approx(
        {"pearson_r": 1, "slope": 0.5, "bias_ppm": -0.15}
    )


def test_regions_are_those_inside_the_mask(labelled):
    chi, truth, mask, labels = labelled
    mask[1:4] = False
    table = region_table(chi, truth, mask, labels)
    assert list(table["n_voxels"]) == [36]
    assert np.isnan(region_scores(chi, truth, mask, labels)["slope"])  # of one region
    assert np.isnan(list(region_scores(chi, truth, mask).values())).all()
    with pytest.raises(DataError, match="no label lies inside the mask"):
        region_table(chi, truth, mask, 0 * labels)
    with pytest.raises(DataError, match="labels have shape"):
        region_table(chi, truth, mask, labels[1:])


def test_region_of_one_value_has_no_slope(labelled):
    chi, truth, mask, labels = labelled
    truth = np.where(labels == 3, 0.0, truth)
    table = region_table(chi, truth, mask, labels).set_index("index")
    assert table.loc[3, ["pearson_r", "slope"]].isna().all()
    assert table.loc[7, "slope"] == pytest.approx(0.5)


# ---- comparison


def test_paired_t_test_by_hand():
    """Differences 1, 2, 3: mean 2, SD 1, t = 2 sqrt 3 with 2 degrees of freedom."""
    scores = long_table({"ours": [1.0, 2.0, 3.0], "theirs": [2.0, 4.0, 6.0]})
    (row,) = paired_t_tests(scores, "ours").to_dict("records")
    assert (row["baseline"], row["method"], row["n"]) == ("ours", "theirs", 3)
    assert row["mean_difference"] == pytest.approx(2)
    assert row["t"] == pytest.approx(2 * np.sqrt(3))
    assert row["p"] == pytest.approx(0.0742, abs=1e-4)  # from a table of t


def test_t_test_takes_the_subjects_that_both_have():
    scores = long_table(
        {
            "ours": [1.0, 2.0, 3.0, np.nan, 7.0, np.inf],
            "theirs": [2.0, 4.0, 6.0, 9.0, None, 1.0],
            "lonely": [None, None, None, None, 1.0, None],
            "absent": [np.nan] * 6,
        }
    )
    tests = paired_t_tests(scores, "ours").set_index("method")
    assert list(tests["n"]) == [3, 1, 0]
    assert tests.loc["theirs", "t"] == pytest.approx(2 * np.sqrt(3))
    assert tests.loc[["lonely", "absent"], "p"].isna().all()


def test_equal_differences_have_no_t():
    tests = paired_t_tests(long_table({"a": [1.0, 2.0], "b": [1.5, 2.5]}), "a")
    assert tests["mean_difference"].item() == pytest.approx(0.5)
    assert tests["p"].isna().all()


def test_summary_counts_what_is_there():
    scores = pd.concat(
        [
            long_table({"b": [1.0, 2.0, 3.0], "a": [4.0, None, None]}),
            long_table({"b": [1.0, 2.0, np.nan], "a": [np.nan, None, None]}, "NRMSE", "paper"),
        ]
    )
    summary = summarise(scores)
    first = summary.iloc[0].to_dict()
    assert first == {"method": "b", "family": "f", "metric": "m", "mean": 2, "sd": 1, "n": 3}
    table = method_by_metric(summary)
    assert list(table.columns) == ["n", "m [f]", "NRMSE [paper]"]
    assert table.loc["b"].tolist() == ["3", "2 ± 1", "1.5 ± 0.71 (n = 2)"]
    assert table.loc["a"].tolist() == ["1", "4", "n/a"]


def test_tables_are_rendered():
    table = method_by_metric(summarise(long_table({"a<b": [1.0, 3.0]})))
    assert to_markdown(table) == (
        "| method | n | m [f] |\n| --- | --- | --- |\n| a<b | 2 | 2 ± 1.4 |\n"
    )
    page = to_html("A title", {"One & two": table}, ["x.png"])
    assert "<h2>One &amp; two</h2>" in page
    assert "a&lt;b" in page
    assert '<img src="x.png"' in page
