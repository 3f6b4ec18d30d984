"""Statistics of groups with known answers."""

import numpy as np
import pandas as pd
import pytest

from isdu_bids.group.outliers import robust_z, scores
from isdu_bids.group.statistics import (
    associations,
    asymmetry,
    changes,
    explanatory,
    intraclass_correlation,
    reliability,
)
from isdu_bids.group.structures import both_sides


def participants(**columns):
    n = len(next(iter(columns.values())))
    return pd.DataFrame({"participant_id": [f"sub-{i:03d}" for i in range(n)], **columns})


def values(means, structure="Putamen", session=None, side=""):
    ids = [f"sub-{i:03d}" for i in range(len(means))]
    rows = {"participant_id": ids, "scan": [f"{i}_{session}" for i in ids], "session_id": session}
    return pd.DataFrame({**rows, "structure": structure, "side": side, "value": means})


@pytest.fixture
def generator():
    return np.random.default_rng(1)


def test_age_and_sex_are_told_apart(generator):
    age = generator.integers(20, 80, 200)
    sex = np.where(generator.random(200) < age / 100, "male", "F")  # men are older here
    chi = 0.05 + 0.001 * age + generator.normal(0, 0.004, 200)
    table = explanatory(participants(AGE=age.astype(str), sex=sex))
    found = associations(values(chi), table).set_index("contrast")
    assert found.loc["age", "estimate"] == pytest.approx(0.001, abs=5e-5)
    assert found.loc["age", "low"] < 0.001 < found.loc["age", "high"]
    assert found.loc["age", "effect_size"] > 0.9
    assert found.loc["age", "p_fdr"] < 1e-6
    assert found.loc["sex: M − F", "p_fdr"] > 0.05
    assert abs(found.loc["sex: M − F", "effect_size"]) < 0.4


def test_cohens_d_of_two_groups(generator):
    group = np.repeat(["control", "patient"], 400)
    chi = generator.normal(0, 0.01, 800) + 0.02 * (group == "patient")
    (row,) = associations(values(chi), explanatory(participants(group=group))).to_dict("records")
    assert row["contrast"] == "group: patient − control"
    assert row["estimate"] == pytest.approx(0.02, rel=0.1)
    assert row["effect_size"] == pytest.approx(2.0, rel=0.1)


def test_three_groups_have_one_test_and_small_ones_none(generator):
    group = [*np.repeat(["a", "b", "c"], 20), "rare", None]
    chi = generator.normal(0, 0.01, 62) + 0.03 * np.array([g == "b" for g in group])
    (row,) = associations(values(chi), explanatory(participants(group=group))).to_dict("records")
    assert row["n"] == 60
    assert row["contrast"] == "group: a, b, c"
    assert row["effect"] == "partial eta squared"
    assert row["effect_size"] == pytest.approx(2 / 3, abs=0.15)  # 0.03² · 2/9 against 0.01²


def test_unusable_columns_and_small_groups_are_not_tested(generator):
    chi = generator.normal(0, 0.01, 30)
    assert associations(values(chi), explanatory(participants(sex=["M"] * 30))).empty
    assert associations(values(chi), explanatory(participants(age=["89+"] * 30))).empty
    assert associations(values(chi), explanatory(participants(handedness=["R"] * 30))).empty
    few = participants(age=[str(20 + i) for i in range(8)])
    assert associations(values(chi[:8]), explanatory(few)).empty


def test_p_is_corrected_for_all_regions(generator):
    age = generator.integers(20, 80, 50)
    table = explanatory(participants(age=age))
    parts = [values(generator.normal(0, 0.01, 50), f"region {i}") for i in range(20)]
    found = associations(pd.concat(parts), table)
    smallest = found["p"].idxmin()
    assert (found["p_fdr"] >= found["p"]).all()
    assert found["p_fdr"][smallest] <= 20 * found["p"][smallest]
    assert found["p_fdr"][smallest] > found["p"][smallest]


def test_left_and_right_are_compared_within_participants(generator):
    own = generator.normal(0.05, 0.02, 40)
    left = values(own + 0.004 + generator.normal(0, 0.001, 40), side="L")
    right = values(own + generator.normal(0, 0.001, 40), side="R")
    (row,) = asymmetry(pd.concat([left, right])).to_dict("records")
    assert row["estimate"] == pytest.approx(0.004, abs=5e-4)
    assert row["effect_size"] > 2
    assert row["p"] < 1e-10
    assert asymmetry(left).empty


def test_sessions_are_in_the_order_of_their_numbers(generator):
    own = generator.normal(0.05, 0.02, 30)
    parts = [
        values(own + change + generator.normal(0, 0.001, 30), session=session)
        for session, change in (("10", 0.003), ("2", 0.001), ("1", 0.0))
    ]
    found = changes(pd.concat(parts)).set_index("contrast")
    assert list(found.index) == ["ses-2 − ses-1", "ses-10 − ses-1"]
    assert found["estimate"].tolist() == pytest.approx([0.001, 0.003], abs=5e-4)


def test_icc_of_shrout_and_fleiss():
    """Table 2 of their article: six targets, four judges; ICC(1,1) = .17."""
    targets = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
    ratings = pd.DataFrame(targets).stack().rename_axis(["target", "judge"]).reset_index(name="x")
    found = intraclass_correlation(ratings["x"], [ratings["target"]])
    assert found["estimate"] == pytest.approx(0.166, abs=1e-3)
    assert (found["low"], found["high"]) == pytest.approx((-0.133, 0.723), abs=1e-3)
    assert found["effect_size"] ** 2 == pytest.approx(6.26, abs=0.01)


def test_icc_is_the_share_of_variance_between_participants(generator):
    own = generator.normal(0, 0.02, 2000)
    parts = [values(own + generator.normal(0, 0.01, 2000), session=s) for s in ("1", "2")]
    parts[1] = parts[1].iloc[:1500]  # some come once only
    (row,) = reliability(pd.concat(parts)).to_dict("records")
    assert row["contrast"] == "sessions"
    assert row["n"] == 1500
    assert row["estimate"] == pytest.approx(0.8, abs=0.02)
    assert row["low"] < 0.8 < row["high"]
    assert row["effect_size"] == pytest.approx(0.01, rel=0.05)


def test_one_side_does_not_stand_for_both():
    left, right = values([0.1, 0.2], side="L"), values([0.3], side="R")
    merged = both_sides(pd.concat([left, right]))
    assert merged["value"].tolist() == pytest.approx([0.2])
    assert merged["participant_id"].tolist() == ["sub-000"]


def test_outliers_are_far_from_those_alike():
    chi = pd.Series([*np.linspace(0.09, 0.11, 20), *np.linspace(0.49, 0.51, 20), 0.5])
    protocol = pd.Series(["a"] * 20 + ["b"] * 20 + ["a"])
    found = scores(chi, [protocol])
    assert (found.abs() > 3.5).tolist() == [False] * 40 + [True]
    assert robust_z(chi[:9]).isna().all()
    assert robust_z(pd.Series([1.0] * 20 + [2.0])).isna().all()
