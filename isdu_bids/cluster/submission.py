"""One submission: a folder in the outputs with its frozen list, scripts, logs and exit codes.

::

    OUT/logs/cluster/20261126-101500_4f3a/
        submission.toml   how it was submitted, and the ids of its jobs
        isdu-bids.toml    the options of the app
        tasks.tsv         which task does which scans
        unusable.tsv      scans for which there is no task, and why
        filters/          BIDS filter files of tasks that need one
        array.sh group.sh the scripts
        state/            what tasks tell: 3.started, 3.exit
        log/              what tasks print: 3.txt
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from secrets import token_hex
from typing import Any

from isdu_bids.cluster.plan import Task, list_text, read_list
from isdu_bids.cluster.schedulers import SCHEDULERS, Request, Scheduler
from isdu_bids.cluster.scripts import Launch, array_script, group_script
from isdu_bids.errors import IsduError
from isdu_bids.files import read_toml, to_toml, write_json, write_text


@dataclass(frozen=True, kw_only=True)
class Submission:
    """How a list of tasks is submitted.

    Attributes
    ----------
    name
        Of its folder; later ones sort last.
    scheduler
        A key of `SCHEDULERS`.
    per
        A key of `isdu_bids.cluster.plan.PER`.
    request
        What each task asks for.
    launch
        How a task calls the app.
    group
        Whether a last job gathers the results of all.
    job, group_job
        Ids that the scheduler gave; empty: not yet.
    """

    name: str = field(default_factory=lambda: f"{datetime.now():%Y%m%d-%H%M%S-%f}_{token_hex(2)}")
    scheduler: str = "slurm"
    per: str = "subject"
    request: Request
    launch: Launch
    group: bool = False
    job: str = ""
    group_job: str = ""

    @property
    def folder(self) -> Path:
        """Where everything of it lies."""
        return _parent(self.launch.output_dir) / self.name

    @property
    def words(self) -> Scheduler:
        """Words of its scheduler."""
        return SCHEDULERS[self.scheduler]

    def scripts(self, n_tasks: int) -> dict[str, str]:
        """Name of each script -> its text."""
        options = (self.words, self.request, self.launch, self.folder)
        scripts = {"array.sh": array_script(*options, n_tasks)}
        return scripts | ({"group.sh": group_script(*options)} if self.group else {})

    def commands(self, job: str = "JOB") -> list[list[str]]:
        """Commands that submit the scripts; the first prints the id of the job."""
        array = [*self.words.submit, str(self.folder / "array.sh")]
        after = shlex.split(self.words.after.format(job=job))
        group = [*self.words.submit, *after, str(self.folder / "group.sh")]
        return [array, group] if self.group else [array]


@dataclass(frozen=True)
class Submitted:
    """A submission as it lies in its folder."""

    submission: Submission
    tasks: tuple[Task, ...]
    unusable: Mapping[str, str]

    @property
    def scans(self) -> list[str]:
        """Names of all its scans."""
        return [scan for task in self.tasks for scan in task.scans] + list(self.unusable)


def submit(
    submission: Submission,
    tasks: Sequence[Task],
    options: Mapping[str, Any],
    unusable: Mapping[str, str],
) -> Submission:
    """Freeze the list and hand it to the scheduler.

    Parameters
    ----------
    submission, tasks
        What to submit; nothing where there are no tasks.
    options
        Of the app, as its configuration file has them.
    unusable
        Scan without a task -> what is wrong with it.

    Returns
    -------
    Submission
        With the ids of its jobs.

    Raises
    ------
    IsduError
        If the scheduler refuses it; then nothing is left behind.
    """
    folder = submission.folder
    write_text(folder / "tasks.tsv", list_text(tasks))
    write_text(folder / "unusable.tsv", _unusable_text(unusable))
    write_text(folder / "isdu-bids.toml", to_toml({"options": options}))
    for task in tasks:
        if task.filters:
            write_json(folder / "filters" / f"{task.name}.json", task.filters)
    for name, text in submission.scripts(len(tasks)).items():
        write_text(folder / name, text)
    for name in ("log", "state"):
        (folder / name).mkdir()
    _write_record(submission)
    if not tasks:
        return submission
    try:
        job = submission.words.job_of(_call(submission.commands()[0]))
    except IsduError:
        shutil.rmtree(folder)
        raise
    submission = _write_record(replace(submission, job=job))
    if submission.group:
        group_job = submission.words.job_of(_call(submission.commands(job)[1]))
        submission = _write_record(replace(submission, group_job=group_job))
    return submission


def read_submissions(output_dir: Path) -> list[Submitted]:
    """Read all submissions of an output folder, the oldest first."""
    return [_read(path.parent) for path in sorted(_parent(output_dir).glob("*/submission.toml"))]


def _read(folder: Path) -> Submitted:
    values = read_toml(folder / "submission.toml")
    values |= {
        "request": Request(**values["request"]),
        "launch": Launch.of(values["launch"]),
    }
    rows = (folder / "unusable.tsv").read_text(encoding="utf-8").splitlines()[1:]
    return Submitted(
        Submission(**values),
        tuple(read_list((folder / "tasks.tsv").read_text(encoding="utf-8"))),
        dict(row.split("\t", 1) for row in rows),
    )


def _write_record(submission: Submission) -> Submission:
    write_text(submission.folder / "submission.toml", to_toml(asdict(submission)))
    return submission


def _unusable_text(unusable: Mapping[str, str]) -> str:
    rows = [("scan", "reason"), *((name, " ".join(why.split())) for name, why in unusable.items())]
    return "".join("\t".join(row) + "\n" for row in rows)


def _parent(output_dir: Path) -> Path:
    return output_dir / "logs" / "cluster"


def _call(command: Sequence[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except OSError as error:
        raise IsduError(
            f"{command[0]} cannot be run ({error.strerror}); submit from a login node of the "
            "cluster, or choose another --scheduler"
        ) from error
    except subprocess.CalledProcessError as error:
        raise IsduError(f"{shlex.join(command)} failed: {error.stderr.strip()}") from error
