"""Reports from what lies in the output folder: they can be written again at any time."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

from isdu_bids.bids.layout import failure_path, log_folder, summary_files, summary_name
from isdu_bids.errors import DataError
from isdu_bids.files import write_json
from isdu_bids.quality.record import ScanRecord, read_record
from isdu_bids.reports.methods_text import Pipeline, write_citation
from isdu_bids.reports.subject import write_subject_report


def write_reports(
    output_dir: Path,
    subjects: Sequence[str],
    *,
    run_uuid: str,
    command: str,
    failures: Mapping[str, str],
) -> list[Path]:
    """Write the report of each subject, and the methods text of all that the folder holds.

    Parameters
    ----------
    output_dir
        Root of the derivative dataset.
    subjects
        Labels without ``sub-``.
    run_uuid, command
        Of this run.
    failures
        Scan name -> what went wrong.

    Returns
    -------
    list of Path
        The pages.
    """
    for name, why in failures.items():
        write_json(failure_path(output_dir, name), {"reason": why, "run": run_uuid})
    pages = []
    for subject in subjects:
        found, own = read_records(output_dir, subject)
        own |= {
            name: why for name, why in failures.items() if name.split("_")[0] == f"sub-{subject}"
        }
        if not found and not own:
            continue
        pages.append(
            write_subject_report(
                output_dir,
                subject,
                # what failed in this run must not pass for a result of it
                scans=[record for record in found if record.name not in own],
                run_uuid=run_uuid,
                about=about(command),
                failures=own,
                crash_files=sorted(
                    (log_folder(output_dir, subject) / run_uuid).glob("crash-*.txt")
                ),
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


def about(command: str) -> dict[str, str]:
    """Tell what made the report."""
    return {
        "Command": command,
        "Date": f"{datetime.now():%Y-%m-%d %H:%M}",
        "Python": platform.python_version(),
        **{package: version(package) for package in ("torch", "numpy", "nipype", "nibabel")},
    }
