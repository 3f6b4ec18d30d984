"""The command on a scheduler that is made of two lines of shell."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from isdu_bids.cli import cluster, toolbox
from isdu_bids.cluster.submission import read_submissions

STAND_IN = (sys.executable, str(Path(__file__).with_name("stand_in.py")))


class FakeSlurm:
    """Takes jobs and numbers them; ``squeue`` shows what a test puts into a file."""

    def __init__(self, folder: Path, monkeypatch) -> None:
        self.folder = folder / "fake"
        self.folder.mkdir()
        (self.folder / "queue").write_text("")
        self._program("sbatch", f'echo "$@" >> {self.folder}/jobs; wc -l < {self.folder}/jobs')
        self._program("squeue", f"cat {self.folder}/queue")
        self._program("sacct", "exit 1")
        monkeypatch.setenv("PATH", f"{self.folder}:{os.environ['PATH']}")

    def _program(self, name: str, body: str) -> None:
        path = self.folder / name
        path.write_text(f"#!/bin/bash\n{body}\n")
        path.chmod(0o755)

    @property
    def jobs(self) -> list[str]:
        path = self.folder / "jobs"
        return path.read_text().splitlines() if path.exists() else []

    def show(self, text: str) -> None:
        (self.folder / "queue").write_text(text)

    def refuse(self) -> None:
        self._program("sbatch", "echo no such partition >&2; exit 1")


@pytest.fixture
def fake(tmp_path, monkeypatch) -> FakeSlurm:
    monkeypatch.setattr(cluster, "APP", STAND_IN)
    return FakeSlurm(tmp_path, monkeypatch)


def submit(cohort, *options: str, app: tuple[str, ...] = ()) -> int:
    folders = (str(cohort.bids_dir), str(cohort.output_dir))
    words = ["cluster", "submit", *options, *folders, "participant", "--skip-bids-validation", *app]
    return toolbox.main(words)


def status(cohort) -> dict[str, str]:
    table = cohort.folder / "status.tsv"
    assert toolbox.main(["cluster", "status", str(cohort.output_dir), "--tsv", str(table)]) == 0
    rows = [line.split("\t") for line in table.read_text().splitlines()[1:]]
    return {row[0]: row[1] for row in rows}


def test_one_array_and_a_job_after_it(cohort, fake):
    cohort.add(sub_01="ok", sub_02="ok")
    assert submit(cohort, "--group", "--cpus", "2", "--mem", "6G") == 0
    (submitted,) = read_submissions(cohort.output_dir)
    folder = submitted.submission.folder
    assert fake.jobs == [
        f"--parsable {folder}/array.sh",
        f"--parsable --dependency=afterany:1 {folder}/group.sh",
    ]
    assert "--array=1-2%2" in (folder / "array.sh").read_text()
    assert (submitted.submission.job, submitted.submission.group_job) == ("1", "2")
    assert (submitted.submission.request.cpus, submitted.submission.request.memory_mb) == (2, 6000)


def test_tasks_are_of_the_participant_level(cohort, fake, capsys):
    cohort.add(sub_01="ok")
    folders = [str(cohort.bids_dir), str(cohort.output_dir)]
    assert toolbox.main(["cluster", "submit", *folders, "group"]) == 64
    assert "--group" in capsys.readouterr().err


def test_dry_run_submits_and_writes_nothing(cohort, fake, capsys):
    cohort.add(sub_01="ok", sub_02="ok")
    assert submit(cohort, "--dry-run", "--no-group") == 0
    printed = capsys.readouterr().out
    assert "sub-02\t--participant-label 02\tsub-02\n" in printed
    assert "#SBATCH --array=1-2%2" in printed
    assert "sbatch --parsable" in printed.splitlines()[-1]
    assert not fake.jobs
    assert not cohort.output_dir.exists()


def test_options_of_the_app_are_frozen_and_checked(cohort, fake):
    cohort.add(sub_01="ok")
    assert submit(cohort, app=("--inversion", "nonsense")) == 64
    assert submit(cohort, app=("--inversion", "tkd", "--device", "cpu")) == 0
    text = (read_submissions(cohort.output_dir)[0].submission.folder / "isdu-bids.toml").read_text()
    assert 'inversion = "tkd' in text
    assert "n_procs" not in text


def test_selection_of_the_user_is_kept(cohort, fake):
    cohort.add(sub_01="ok", sub_02="ok")
    assert submit(cohort, app=("--participant-label", "02", "--session-label", "x")) == 18
    assert submit(cohort, app=("--participant-label", "02")) == 0
    assert read_submissions(cohort.output_dir)[0].scans == ["sub-02"]


def test_scans_that_cannot_be_used_are_told_and_not_submitted(cohort, fake, capsys):
    cohort.add(sub_01="ok", sub_02="ok")
    next(cohort.bids_dir.glob("sub-02/anat/*echo-1_part-mag*.nii.gz")).unlink()
    assert submit(cohort) == 0
    assert "sub-02: NOT SUBMITTED" in capsys.readouterr().err
    fake.show("1_1 PENDING\n")
    assert status(cohort) == {"sub-01": "pending", "sub-02": "failed"}


def test_a_refusal_leaves_nothing_behind(cohort, fake, capsys):
    cohort.add(sub_01="ok")
    fake.refuse()
    assert submit(cohort) == 1
    assert "no such partition" in capsys.readouterr().err
    assert not read_submissions(cohort.output_dir)


def test_what_runs_or_waits_is_not_submitted_twice(cohort, fake, capsys):
    cohort.add(sub_01="ok", sub_02="ok")
    assert submit(cohort) == 0
    fake.show("1_1 RUNNING\n1_2 PENDING\n")
    assert submit(cohort) == 64
    assert "2 scans, sub-01 among them" in capsys.readouterr().err
    fake.show("1_1 RUNNING\n")
    assert submit(cohort, app=("--participant-label", "02")) == 0


def test_only_what_failed_is_submitted_again_with_what_is_asked_for_now(cohort, fake):
    cohort.add(sub_01="ok", sub_02="ok", sub_03="ok")
    assert submit(cohort, "--mem", "4G", "--time", "60") == 0
    fake.show("1_1 RUNNING\n1_3 PENDING\n")
    assert status(cohort) == {"sub-01": "running", "sub-02": "failed", "sub-03": "pending"}
    cohort.add(sub_04="ok")
    assert toolbox.main(["cluster", "resubmit", str(cohort.output_dir), "--mem", "8G"]) == 0
    again = read_submissions(cohort.output_dir)[-1]
    assert again.scans == ["sub-02"]
    assert (again.submission.request.memory_mb, again.submission.request.minutes) == (8000, 60)
    fake.show("1_1 RUNNING\n1_3 PENDING\n3_1 PENDING\n")
    assert status(cohort) == {"sub-01": "running", "sub-02": "pending", "sub-03": "pending"}
    assert toolbox.main(["cluster", "resubmit", str(cohort.output_dir)]) == 0
    assert len(fake.jobs) == 4  # each with its group job


def test_status_of_a_folder_without_submissions(cohort, fake, capsys):
    assert toolbox.main(["cluster", "status", str(cohort.output_dir)]) == 64
    assert "nothing was submitted" in capsys.readouterr().err


def test_without_a_scheduler_one_line_says_so(cohort, monkeypatch, capsys):
    cohort.add(sub_01="ok")
    monkeypatch.setenv("PATH", "/nowhere")
    assert submit(cohort) == 1
    assert "sbatch cannot be run" in capsys.readouterr().err
