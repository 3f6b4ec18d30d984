"""What participant runs left in the output folder, found by the names of scans."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from isdu_bids.bids.layout import failure_files, summary_files, summary_name
from isdu_bids.bids.names import scan_name
from isdu_bids.bids.query import DEFAULT_FILTERS
from isdu_bids.errors import DataError
from isdu_bids.files import read_json
from isdu_bids.quality.record import ScanRecord, read_record

#: What can be said of a scan, and what to do where there is nothing more to be said.
PROCESSED, FAILED, UNFINISHED, MISSING = "processed", "failed", "unfinished", "missing"
_UNFINISHED = "no map yet: it is being processed, its run was stopped, or it was not selected"
_MISSING = "the participant level has not been run on it"
_NO_SCAN = "participants.tsv names it, but the dataset has no gradient-echo scan with phase of it"


@dataclass(frozen=True)
class Scan:
    """One scan, processed or not.

    Attributes
    ----------
    name
        Its entities, e.g. ``sub-01_ses-1``.
    status
        `PROCESSED`, `FAILED`, `UNFINISHED` or `MISSING`.
    reason
        Why it failed or is absent; also of a failure after which an older map is still there.
    record
        Of a processed scan.
    """

    name: str
    status: str
    reason: str = ""
    record: ScanRecord | None = None


def read_scans(output_dir: Path, expected: set[str], participants: set[str]) -> Iterator[Scan]:
    """Every scan of the output folder and of the dataset, in the order of names.

    Parameters
    ----------
    output_dir
        Root of the derivative dataset. Other jobs may be writing it.
    expected
        Names of the scans of the raw dataset.
    participants
        Identifiers of ``participants.tsv``, with ``sub-``.
    """
    folders = {path.name for path in output_dir.glob("sub-*") if path.is_dir()}
    by_subject: dict[str, set[str]] = {subject: set() for subject in folders | participants}
    for name in expected:
        by_subject.setdefault(name.partition("_")[0], set()).add(name)
    for subject in sorted(by_subject):
        label = subject.removeprefix("sub-")
        records = {summary_name(path): path for path in summary_files(output_dir, label)}
        failures = failure_files(output_dir, label)
        names = by_subject[subject] | records.keys() | failures.keys()
        for name in sorted(names):
            yield _scan(name, records.get(name), failures.get(name), subject in folders)
        if not names and subject not in folders:
            yield Scan(subject, MISSING, _NO_SCAN)


def expected_scans(bids_dir: Path) -> set[str]:
    """Names of the scans with phase in a raw dataset, by the names of its files alone.

    No index is made: it would take minutes for thousands of subjects.
    """
    names = set()
    for suffix in DEFAULT_FILTERS["suffix"]:
        pattern = f"anat/sub-*_part-*_{suffix}.nii*"
        files = chain(bids_dir.glob(f"sub-*/{pattern}"), bids_dir.glob(f"sub-*/ses-*/{pattern}"))
        names |= {scan_name(path) for path in files if "_part-mag_" not in path.name}
    return names


def _scan(name: str, record: Path | None, failure: Path | None, started: bool) -> Scan:
    reason = _reason(failure) if failure else ""
    if record is None:
        status = FAILED if failure else UNFINISHED if started else MISSING
        return Scan(name, status, reason or (_UNFINISHED if started else _MISSING))
    try:
        return Scan(name, PROCESSED, reason, read_record(record))
    except DataError as error:
        return Scan(name, FAILED, reason or str(error))


def _reason(failure: Path) -> str:
    try:
        return str(read_json(failure).get("reason", "no reason was recorded"))
    except DataError:  # a run that succeeded has just removed it
        return ""
