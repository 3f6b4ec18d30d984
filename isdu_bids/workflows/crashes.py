"""What went wrong, from Nipype's crash files: one line per scan."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from isdu_bids import errors
from isdu_bids.bids.acquisition import Acquisition
from isdu_bids.bids.layout import log_folder
from isdu_bids.errors import IsduError
from isdu_bids.workflows.scan import workflow_name

_NODE = re.compile(r"^Node: (\S+)", re.MULTILINE)
_ERROR = re.compile(
    r"^\s*(?:isdu_bids\.errors\.(\w+)|([\w.]*(?:Error|Exception|Interrupt)))(?:: (.+))?$"
)

#: What Python says without a message.
_SHORT = {
    "MemoryError": "memory ran out; lower --nprocs, or raise --mem with the memory of the job"
}


def failed_scans(
    output_dir: Path, acquisitions: Sequence[Acquisition], run_uuid: str
) -> dict[str, str]:
    """Scan name -> failed step and the last error in its crash file."""
    failures: dict[str, str] = {}
    for scan in acquisitions:
        for path in sorted((log_folder(output_dir, scan.subject) / run_uuid).glob("crash-*.txt")):
            text = path.read_text()
            node = _NODE.search(text)
            *_, name, step = node[1].split(".") if node else ("", "", "?")
            if name == workflow_name(scan):
                failures[scan.name] = f"{step} failed: {last_error(text)} (details: {path})"
    return failures


def error_class(failure: str) -> type[IsduError]:
    """Class of the error that a message of `failed_scans` tells of, by the crash file it names."""
    path = Path(failure.rpartition(" (details: ")[2].removesuffix(")"))
    for line in reversed(path.read_text().splitlines() if path.is_file() else []):
        if found := _ERROR.match(line):
            return getattr(errors, found[1] or "", IsduError)
    return IsduError


def last_error(text: str) -> str:
    """Message of the last exception in a traceback."""
    for line in reversed(text.splitlines()):
        if found := _ERROR.match(line):
            return found[3].strip() if found[3] else _SHORT.get(found[2], found[2] or found[1])
    return "no message"
