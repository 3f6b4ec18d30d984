"""Real arrays in a real Slurm of one node; a stand-in for the app makes them short."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from heads import write_head

from isdu_bids.bids.validation import validate
from isdu_bids.cli import cluster, toolbox
from isdu_bids.cluster.submission import read_submissions

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
STAND_IN = (sys.executable, str(Path(__file__).with_name("stand_in.py")))
TINY = ("--mem", "400", "--time", "1", "--grace", "45")


def queue() -> list[str]:
    """States of everything that waits or runs, jobs that wait for others included."""
    command = ["squeue", "--noheader", "--array", "--format=%j %T"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def table(cohort) -> dict[str, tuple[str, str]]:
    path = cohort.folder / "status.tsv"
    assert toolbox.main(["cluster", "status", str(cohort.output_dir), "--tsv", str(path)]) == 0
    rows = [line.split("\t") for line in path.read_text().splitlines()[1:]]
    return {row[0]: (row[1], row[2]) for row in rows}


def statuses(cohort) -> dict[str, str]:
    return {scan: status for scan, (status, _) in table(cohort).items()}


@pytest.mark.usefixtures("slurm")
def test_eight_scans_of_which_three_fail(cohort, wait_for, monkeypatch):
    monkeypatch.setattr(cluster, "APP", STAND_IN)
    usual = {f"sub_{i:02d}": "ok" for i in (1, 2, 5, 6)}
    cohort.add(**usual, sub_03="corrupt", sub_04="memory", sub_07="slow", sub_08="flagged")
    folders = (str(cohort.bids_dir), str(cohort.output_dir))
    app = ("participant", "--skip-bids-validation")
    options = (*TINY, "--at-most", "2", "--group", "--scratch", str(cohort.folder / "scratch"))
    assert toolbox.main(["cluster", "submit", *options, *folders, *app]) == 0

    cohort.add(sub_00="ok", sub_09="ok")  # would shift or lengthen a list that is not frozen
    assert set(statuses(cohort)) == {f"sub-{i:02d}" for i in range(1, 9)}
    assert set(statuses(cohort).values()) <= {"pending", "running", "done"}
    assert any(line.startswith("isdu-bids-group PENDING") for line in queue())
    assert toolbox.main(["cluster", "resubmit", folders[1]]) == 0  # nothing has failed yet
    wait_for(lambda: not queue(), 240)

    after = table(cohort)
    assert {scan for scan, (status, _) in after.items() if status == "done"} == {
        "sub-01", "sub-02", "sub-05", "sub-06",
    }  # fmt: skip
    assert after["sub-08"] == ("flagged", "noisy")
    assert after["sub-03"][1].startswith("exit code 1: field failed: the image ends early")
    assert "memory" in after["sub-04"][1]
    assert after["sub-07"][1].startswith("exit code 143, stopped by the scheduler")
    assert {after[f"sub-0{i}"][0] for i in (3, 4, 7)} == {"failed"}
    assert sorted(cohort.runs) == [f"sub-{i:02d}" for i in range(1, 9)]
    (gathered,) = (cohort.folder / "groups.txt").read_text().splitlines()
    assert gathered.split() == [f"sub-0{i}_Chimap.nii.gz" for i in (1, 2, 5, 6, 8)]

    for i in (3, 4, 7):
        cohort.behave(f"sub-0{i}", "ok")
    assert toolbox.main(["cluster", "resubmit", folders[1]]) == 0
    assert read_submissions(cohort.output_dir)[-1].scans == ["sub-03", "sub-04", "sub-07"]
    wait_for(lambda: not queue(), 120)
    final = statuses(cohort)
    assert final.pop("sub-08") == "flagged"
    assert final == {f"sub-{i:02d}": "done" for i in range(1, 8)}
    assert sorted(cohort.runs[8:]) == ["sub-03", "sub-04", "sub-07"]
    assert len((cohort.folder / "groups.txt").read_text().splitlines()[-1].split()) == 8


@pytest.mark.usefixtures("slurm")
def test_scans_of_one_subject_as_tasks_of_their_own(cohort, wait_for, monkeypatch):
    monkeypatch.setattr(cluster, "APP", STAND_IN)
    cohort.add(sub_01_run_1="ok", sub_01_run_2="ok", sub_02="ok")
    words = ["cluster", "submit", *TINY, "--per", "scan", "--no-group"]
    words += [str(cohort.bids_dir), str(cohort.output_dir), "participant", "--skip-bids-validation"]
    assert toolbox.main(words) == 0
    wait_for(lambda: not queue(), 120)
    assert sorted(cohort.runs) == ["sub-01_run-1", "sub-01_run-2", "sub-02"]
    assert set(statuses(cohort).values()) == {"done"}


@pytest.mark.usefixtures("slurm")
def test_cancelled_tasks_are_told_and_submitted_again(cohort, wait_for, monkeypatch):
    monkeypatch.setattr(cluster, "APP", STAND_IN)
    cohort.add(sub_01="slow", sub_02="ok", sub_03="ok")
    words = ["cluster", "submit", *TINY, "--at-most", "1", "--no-group"]
    words += [str(cohort.bids_dir), str(cohort.output_dir), "participant", "--skip-bids-validation"]
    assert toolbox.main(words) == 0
    wait_for(lambda: cohort.runs, 60)
    job = read_submissions(cohort.output_dir)[0].submission.job
    subprocess.run(["scancel", f"{job}_2", f"{job}_3"], check=True)
    wait_for(lambda: len(queue()) == 1, 30)
    assert statuses(cohort) == {"sub-01": "running", "sub-02": "failed", "sub-03": "failed"}
    assert toolbox.main(["cluster", "resubmit", str(cohort.output_dir)]) == 0
    wait_for(lambda: not queue(), 180)
    assert statuses(cohort) == {"sub-01": "failed", "sub-02": "done", "sub-03": "done"}


@pytest.mark.usefixtures("slurm")
def test_the_app_itself(cohort, wait_for, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for subject in ("01", "02"):
        write_head(cohort.bids_dir, subject)
    broken = next(cohort.bids_dir.glob("sub-02/anat/*echo-2_part-phase*.nii.gz"))
    broken.write_bytes(broken.read_bytes()[:-1000])
    words = ["cluster", "submit", "--mem", "3G", "--time", "10", "--no-group"]
    words += [str(cohort.bids_dir), str(cohort.output_dir), "participant", "--inversion", "tkd"]
    assert toolbox.main(words) == 0
    wait_for(lambda: not queue(), 600)
    assert statuses(cohort)["sub-01"] in ("done", "flagged")
    status, why = table(cohort)["sub-02"]
    assert (status, str(broken) in why) == ("failed", True)
    report = validate(cohort.output_dir)
    assert report is None or not report.errors
