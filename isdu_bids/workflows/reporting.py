"""Reports from what lies in the output folder: they can be written again at any time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from isdu_bids.bids.layout import (
    failure_files,
    failure_path,
    log_folder,
    summary_files,
    summary_name,
)
from isdu_bids.errors import DataError
from isdu_bids.files import read_json, write_json
from isdu_bids.quality.record import ScanRecord, read_record
from isdu_bids.reports.methods_text import Pipeline, write_citation
from isdu_bids.reports.subject import write_subject_report


def write_reports(
    output_dir: Path,
    subjects: Sequence[str],
    *,
    run_uuid: str,
    failures: Mapping[str, str],
) -> list[Path]:
    """Write the report of each subject, and the methods text of all that the folder holds.

    Parameters
    ----------
    output_dir
        Root of the derivative dataset.
    subjects
        Labels without ``sub-``.
    run_uuid
        Of this run.
    failures
        Scan name -> what went wrong in it. It is remembered until a run of the scan succeeds.

    Returns
    -------
    list of Path
        The pages.
    """
    for name, why in failures.items():
        write_json(failure_path(output_dir, name), {"reason": why, "run": run_uuid})
    pages = []
    for subject in subjects:
        found, failed = read_records(output_dir, subject)
        runs = set()
        for name, path in failure_files(output_dir, subject).items():
            with suppress(DataError):  # another job may be writing it
                failure = read_json(path)
                failed[name] = str(failure.get("reason", "no reason is known"))
                runs.add(str(failure.get("run")))
        if not found and not failed:
            continue
        folders = [log_folder(output_dir, subject) / run for run in sorted(runs)]
        crash_files = [path for folder in folders for path in sorted(folder.glob("crash-*.txt"))]
        pages.append(
            write_subject_report(
                output_dir, subject, scans=found, failures=failed, crash_files=crash_files
            )
        )
    if pipelines(output_dir):
        write_citation(output_dir, lambda: pipelines(output_dir))
    return pages


def read_records(output_dir: Path, subject: str) -> tuple[list[ScanRecord], dict[str, str]]:
    """Read the records of a subject's scans, and say why some cannot be read."""
    found, unreadable = [], {}
    for path in summary_files(output_dir, subject):
        try:
            found.append(read_record(path))
        except DataError as error:
            unreadable[summary_name(path)] = str(error)
    return found, unreadable


def pipelines(output_dir: Path) -> list[Pipeline]:
    """Read what was done to the scans that the folder holds, by this run and others."""
    folders = sorted(output_dir.glob("sub-*"))
    subjects = [folder.name.removeprefix("sub-") for folder in folders if folder.is_dir()]
    records = (record for subject in subjects for record in read_records(output_dir, subject)[0])
    return list(dict.fromkeys(record.sentences for record in records))
