"""``isdu-bids BIDS OUT group`` as a user calls it."""

import sys
from pathlib import Path

import pytest

from isdu_bids.cli import app

sys.path.append(str(Path(__file__).parents[1] / "group"))
import cohort


@pytest.fixture
def dataset(tmp_path):
    names = cohort.write_cohort(tmp_path / "out", tmp_path / "raw", 3)
    cohort.write_failure(tmp_path / "out", "sub-0009", "no phase")
    return [str(tmp_path / "raw"), str(tmp_path / "out"), "group"], names


def test_tables_and_page(dataset, capsys):
    call, names = dataset
    assert app.main(call) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.rpartition("/")[2] for line in lines] == [
        "group_regions.tsv", "group_regions_wide.tsv", "group_quality.tsv", "group_statistics.tsv",
        "group.html",
    ]  # fmt: skip
    out = Path(call[1])
    assert all(name in (out / "group_quality.tsv").read_text() for name in names)
    assert "group_*" in (out / ".bidsignore").read_text()


def test_dry_run_counts_and_writes_nothing(dataset, capsys):
    call, _ = dataset
    assert app.main([*call, "--dry-run"]) == 0
    assert capsys.readouterr().out == "3 processed, 1 failed\n"
    assert not list(Path(call[1]).glob("group*"))


@pytest.mark.parametrize(
    ("changed", "code", "named"),
    [
        (["--participant-label", "0001"], 64, "--participant-label is for the participant level"),
        (["--session-label", "1"], 64, "--session-label"),
    ],
)
def test_group_takes_all_scans(dataset, capsys, changed, code, named):
    call, _ = dataset
    assert app.main([*call, *changed]) == code
    assert named in capsys.readouterr().err


def test_nothing_processed_is_no_input(tmp_path, capsys):
    (tmp_path / "raw").mkdir()
    call = [str(tmp_path / "raw"), str(tmp_path / "out"), "group"]
    assert app.main(call) == 66
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    assert app.main(call) == 66
    assert "participant' first" in capsys.readouterr().err
