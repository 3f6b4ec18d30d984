from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from isdu_bids.cli import toolbox
from isdu_bids.evaluation.metrics import nrmse_percent
from isdu_bids.images import load_volume, save_volume

AFFINE = np.diag([1.0, 1.0, 1.0, 1.0])
SHAPE = (16, 16, 16)
FACTORS = {"flat": 0.8, "good": 0.95}


@pytest.fixture
def maps(tmp_path):
    """Three subjects, two methods; ``good`` lacks the last subject."""
    rows = []
    labels = np.zeros(SHAPE, np.int16)
    labels[4:8, 4:12, 4:12], labels[8:12, 4:12, 4:12] = 11, 13
    for i in range(3):
        rng = np.random.default_rng(i)
        truth = 0.1 * (labels == 13) + rng.normal(0, 0.02, SHAPE)
        mask = np.zeros(SHAPE, bool)
        mask[3:13, 3:13, 3:13] = True
        for name, volume in (("truth", truth), ("mask", mask), ("dseg", labels)):
            save_volume(volume, AFFINE, tmp_path / "data" / f"sub-{i}_{name}.nii.gz")
        for method, factor in FACTORS.items():
            if (method, i) == ("good", 2):
                continue
            chi = factor * truth + rng.normal(0, 0.002, SHAPE)
            save_volume(chi, AFFINE, tmp_path / "data" / f"sub-{i}_{method}.nii.gz")
            files = [f"data/sub-{i}_{n}.nii.gz" for n in (method, "truth", "mask", "dseg")]
            rows.append([f"sub-{i}", method, *files])
    columns = ["subject", "method", "map", "truth", "mask", "dseg"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "maps.tsv", sep="\t", index=False)
    (tmp_path / "lut.tsv").write_text("index\tname\n11\tcaudate\n13\tpallidum\n")
    return tmp_path / "maps.tsv"


def run(maps, *more):
    return toolbox.main(["evaluate", str(maps), "-o", str(maps.parent / "out"), *more])


def edited(maps, **cells):
    """The table with some cells of its second row replaced."""
    table = pd.read_csv(maps, sep="\t")
    for column, value in cells.items():
        table.loc[1, column] = value
    table.to_csv(maps, sep="\t", index=False)
    return maps


def test_every_table_and_figure(maps, capsys):
    lut = maps.parent / "lut.tsv"
    assert run(maps, "--baseline", "good", "--labels-table", str(lut)) == 0
    out = maps.parent / "out"
    assert {path.name for path in out.iterdir()} == {
        "scores.tsv", "summary.tsv", "summary.md", "summary.html", "ttests.tsv", "rois.tsv",
        "voxels.png", "rois.png",
    }  # fmt: skip

    scores = pd.read_csv(out / "scores.tsv", sep="\t")
    assert list(scores.columns) == ["subject", "method", "family", "metric", "value"]
    assert set(scores["family"]) == {"paper", "qsm-ci", "extra", "regions"}
    assert len(scores) == 5 * (5 + 5 + 3 + 3)

    summary = pd.read_csv(out / "summary.tsv", sep="\t").set_index(["method", "family", "metric"])
    slope = summary.loc[("flat", "extra", "slope")]
    assert slope["mean"] == pytest.approx(0.8, abs=0.01)
    assert slope["n"] == 3
    assert summary.loc[("good", "extra", "slope"), "n"] == 2

    tests = pd.read_csv(out / "ttests.tsv", sep="\t")
    assert set(tests["method"]) == {"flat"}
    assert set(tests["n"]) == {2}  # the common subjects

    rois = pd.read_csv(out / "rois.tsv", sep="\t")
    assert set(rois["name"]) == {"caudate", "pallidum"}
    pallidum = rois[(rois["method"] == "flat") & (rois["name"] == "pallidum")]
    assert pallidum["mean_ppm"].to_numpy() == pytest.approx([0.08] * 3, abs=0.005)

    assert "| flat | 3 |" in (out / "summary.md").read_text()
    assert "slope [extra]" in capsys.readouterr().out
    assert "against good" in (out / "summary.html").read_text()


def test_scores_are_those_of_the_arrays(maps):
    assert run(edited(maps, dseg="n/a"), "--family", "qsm-ci", "qsm-ci") == 0
    scores = pd.read_csv(maps.parent / "out" / "scores.tsv", sep="\t")
    row = scores.query("subject == 'sub-0' and method == 'flat' and metric == 'nrmse_percent'")
    chi, truth, mask = (
        load_volume(maps.parent / "data" / f"sub-0_{name}.nii.gz").data
        for name in ("flat", "truth", "mask")
    )
    assert row["value"].item() == pytest.approx(nrmse_percent(chi, truth, mask > 0), rel=1e-5)
    # the second row has no labels, the others have
    regions = scores.query("family == 'regions'").groupby(["subject", "method"])["value"]
    assert regions.count().to_dict()["sub-0", "good"] == 0
    assert regions.count().to_dict()["sub-0", "flat"] == 3


def test_without_labels_there_are_no_regions(maps):
    table = pd.read_csv(maps, sep="\t").drop(columns="dseg")
    table.to_csv(maps, sep="\t", index=False)
    assert run(maps) == 0
    assert not list((maps.parent / "out").glob("rois*"))


def test_other_grids_are_refused_with_both_names(maps, capsys):
    moved = AFFINE.copy()
    moved[0, 3] = 5
    save_volume(np.ones(SHAPE), moved, maps.parent / "data" / "moved.nii.gz")
    assert run(edited(maps, truth="data/moved.nii.gz")) == 65
    message = capsys.readouterr().err
    assert "sub-0_good.nii.gz" in message
    assert "moved.nii.gz" in message


@pytest.mark.parametrize(
    ("cells", "named"),
    [
        ({"map": ""}, "line 3 has no 'map'"),
        ({"method": "flat"}, "two maps of subject 'sub-0'"),
        ({"map": "nowhere.nii.gz"}, "nowhere.nii.gz cannot be read"),
        ({"truth": "data/sub-0_mask.nii.gz"}, "sub-0_mask.nii.gz: the truth has one value only"),
    ],
)
def test_bad_rows_name_their_culprit(maps, capsys, cells, named):
    assert run(edited(maps, **cells)) == 65
    assert named in capsys.readouterr().err


def test_bad_arguments_name_their_culprit(maps, capsys):
    assert run(maps, "--baseline", "best") == 64
    assert "--baseline 'best' is no method" in capsys.readouterr().err
    assert run(maps, "--family", "papers") == 64
    assert "papers" in capsys.readouterr().err
    assert run(maps.parent / "missing.tsv") == 65
    lut = maps.parent / "lut.tsv"
    lut.write_text("index\tname\neleven\tcaudate\n")
    assert run(maps, "--labels-table", str(lut)) == 65
    assert "lut.tsv: the column index must hold integers" in capsys.readouterr().err
    (maps.parent / "out").touch()
    assert run(maps) == 73
