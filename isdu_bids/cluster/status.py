"""What became of each scan: what its task told, what the scheduler says, and what lies there.

The outputs decide whether a scan is done; the task and the scheduler say why one is not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import nan
from pathlib import Path

from isdu_bids.bids.acquisition import Acquisition
from isdu_bids.bids.layout import summary_path
from isdu_bids.bids.names import SCAN_ENTITIES
from isdu_bids.bids.outputs import output_path
from isdu_bids.cluster.plan import scan_entities
from isdu_bids.cluster.queue import PENDING, RUNNING, ended_tasks, queued_tasks
from isdu_bids.cluster.submission import Submitted
from isdu_bids.errors import DataError
from isdu_bids.files import beside
from isdu_bids.quality.record import read_record

DONE, FLAGGED, FAILED = "done", "flagged", "failed"
STATUSES = (DONE, FLAGGED, RUNNING, PENDING, FAILED)
_LOG_END = 20_000  # characters of a log, at its end, in which the reason is looked for
_ENDED = "there is no word on why: see its log"


@dataclass(frozen=True)
class Outcome:
    """What became of a task.

    Attributes
    ----------
    started_s
        When, as seconds since the epoch; None: it has not.
    exit_code
        Of the app; None: the task has not ended, or was killed before it could tell.
    is_stopped
        Whether the scheduler told it to stop: before the time limit, or as somebody cancels it.
    queued
        `RUNNING`, `PENDING` or empty: neither; None where the scheduler cannot be asked.
    ended
        The scheduler's word for how it ended; empty where there is none.
    log
        What it printed.
    """

    started_s: float | None = None
    exit_code: int | None = None
    is_stopped: bool = False
    queued: str | None = None
    ended: str = ""
    log: str = ""


@dataclass(frozen=True)
class Results:
    """Results of a scan: when they were complete (None: they are not), and remarks on them."""

    complete_s: float | None = None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class ScanStatus:
    """One row of the table: a scan, one of `STATUSES`, and why."""

    scan: str
    status: str
    detail: str = ""
    submission: str = ""
    task: int | None = None


def judge(scan: str, task: Outcome, results: Results) -> tuple[str, str]:
    """Status of a scan of a task, and why.

    Results of an earlier run do not count where the task of this one failed.
    """
    has_ended = task.exit_code is not None
    if task.queued == PENDING:
        return PENDING, ""
    if not has_ended and (task.queued == RUNNING or (task.queued is None and task.started_s)):
        return RUNNING, ""
    if not has_ended and task.queued is None:
        return PENDING, ""
    is_new = results.complete_s is not None and (
        task.exit_code == 0 or task.started_s is None or results.complete_s >= task.started_s
    )
    if is_new:
        return (FLAGGED if results.flags else DONE), "; ".join(results.flags)
    return FAILED, _why(scan, task)


def _why(scan: str, task: Outcome) -> str:
    said = _last_words(scan, task.log)
    if task.exit_code == 0:
        return "exit code 0, but its outputs are missing"
    if task.exit_code is None and task.started_s is None:
        return f"never started {task.ended}".strip()
    how = f"exit code {task.exit_code}" if task.exit_code is not None else "killed"
    marks = [how, *(["stopped by the scheduler"] if task.is_stopped else []), task.ended]
    return f"{', '.join(filter(None, marks))}: {said or _ENDED}"


def _last_words(scan: str, log: str) -> str:
    """Last line that names the scan, or else the last line of all."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    own = [line for line in lines if line.startswith(f"{scan}: ")]
    return (own or lines or [""])[-1].removeprefix(f"{scan}: ")


def scan_statuses(submissions: Sequence[Submitted]) -> list[ScanStatus]:
    """Status of every scan that was ever submitted, by its latest submission, in order of names."""
    latest = {scan: submitted for submitted in submissions for scan in submitted.scans}
    rows = [
        row
        for submitted in submissions
        if any(latest[scan] is submitted for scan in submitted.scans)
        for row in _rows(submitted)
        if latest[row.scan] is submitted
    ]
    return sorted(rows, key=lambda row: row.scan)


def _rows(submitted: Submitted) -> Iterable[ScanStatus]:
    submission = submitted.submission
    own = ScanStatus("", FAILED, submission=submission.name)
    for scan, why in submitted.unusable.items():
        yield replace(own, scan=scan, detail=f"not submitted: {why}")
    outcomes = read_outcomes(submitted)
    for index, task in enumerate(submitted.tasks, start=1):
        for scan in task.scans:
            results = read_results(submission.launch.output_dir, scan)
            status, detail = judge(scan, outcomes[index], results)
            yield replace(own, scan=scan, status=status, detail=detail, task=index)


def read_outcomes(submitted: Submitted) -> dict[int, Outcome]:
    """Tell what became of each task, from its files and the scheduler."""
    submission = submitted.submission
    words, job = submission.words, submission.job
    queued = queued_tasks(words, job) if job else None
    ended = ended_tasks(words, job) if job else {}
    return {
        index: replace(
            _told(submission.folder, index),
            queued=None if queued is None else queued.get(index, ""),
            ended=ended.get(index, ""),
        )
        for index in range(1, len(submitted.tasks) + 1)
    }


def _told(folder: Path, index: int) -> Outcome:
    """Read what a task left in its folder."""
    started = folder / "state" / f"{index}.started"
    log = folder / "log" / f"{index}.txt"
    code, *stopped = _text(folder / "state" / f"{index}.exit").split() or [""]
    return Outcome(
        started_s=started.stat().st_mtime if started.exists() else None,
        exit_code=int(code) if code else None,
        is_stopped=bool(stopped),
        log=_text(log)[-_LOG_END:],
    )


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def read_results(output_dir: Path, scan: str) -> Results:
    """Look for the results of a scan: its map, the map's sidecar and its record."""
    labels = (scan_entities(scan).get(key) for key in SCAN_ENTITIES)
    acquisition = Acquisition(*labels, field_strength_t=nan)  # type: ignore[arg-type]
    record, chi = (
        summary_path(output_dir, acquisition),
        output_path(output_dir, acquisition, "chi_ppm"),
    )
    if not all(path.exists() for path in (record, chi, beside(chi, ".json"))):
        return Results()
    try:
        flags = read_record(record).flags
    except DataError as error:
        return Results(record.stat().st_mtime, (str(error),))
    told = tuple(flag.name for flag in flags if flag.severity != "info")
    return Results(record.stat().st_mtime, told)


def table_text(rows: Iterable[ScanStatus]) -> str:
    """Table for the reader, with a line of counts."""
    rows = list(rows)
    width = max((len(row.scan) for row in rows), default=0)
    counts = Counter(row.status for row in rows)
    told = ", ".join(f"{counts[status]} {status}" for status in STATUSES if counts[status])
    lines = [f"{row.scan:{width}}  {row.status:7}  {row.detail}".rstrip() for row in rows]
    return "\n".join([*lines, f"{len(rows)} scans: {told or 'none submitted'}"])


def tsv_text(rows: Iterable[ScanStatus]) -> str:
    """Tab-separated table with a header."""
    lines = ["scan\tstatus\tdetail\tsubmission\ttask"]
    for row in rows:
        detail = " ".join(row.detail.split()) or "n/a"
        lines.append(
            "\t".join([row.scan, row.status, detail, row.submission, str(row.task or "n/a")])
        )
    return "\n".join(lines) + "\n"


def missing_scans(rows: Iterable[ScanStatus]) -> Mapping[str, list[str]]:
    """Name of each submission -> its scans that failed, which are to be submitted again."""
    missing: dict[str, list[str]] = {}
    for row in rows:
        if row.status == FAILED:
            missing.setdefault(row.submission, []).append(row.scan)
    return missing
