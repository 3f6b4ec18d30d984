"""The BIDS validator, where it is installed. It runs offline."""

from __future__ import annotations

import json
import logging
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isdu_bids.errors import ValidationError

_VALIDATOR = "bids-validator-deno"
_SUBJECT = re.compile(r"/sub-([0-9a-zA-Z]+)/")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ValidationReport:
    """One line per finding: code, file and what is meant."""

    errors: tuple[str, ...]
    warnings: tuple[str, ...]


def find_validator() -> str | None:
    """Path of the validator: on the ``PATH`` or beside this Python, else None."""
    beside = shutil.which(_VALIDATOR, path=str(Path(sys.executable).parent))
    return shutil.which(_VALIDATOR) or beside


def validate(dataset: Path) -> ValidationReport | None:
    """Run the validator on a dataset; None, and a line in the log, if it is not installed.

    Raises
    ------
    ValidationError
        If the validator itself fails.
    """
    executable = find_validator()
    if executable is None:
        _log.warning("%s is not installed: %s is not validated", _VALIDATOR, dataset)
        return None
    command = [executable, "--format", "json", str(dataset)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        issues = json.loads(result.stdout)["issues"]
    except (ValueError, KeyError) as error:
        reason = result.stderr.strip().splitlines()[-1:] or [f"exit code {result.returncode}"]
        raise ValidationError(
            f"the validator failed on {dataset} ({reason[0]}); use --skip-bids-validation"
        ) from error
    return ValidationReport(*(_lines(issues, severity) for severity in ("error", "warning")))


def check_input(bids_dir: Path) -> dict[str, str]:
    """Refuse a dataset whose root is not valid; its warnings are left to its owner.

    Returns
    -------
    dict
        Label of each subject with errors of its own -> the first of them.

    Raises
    ------
    ValidationError
        If the validator reports errors that belong to no subject.
    """
    report = validate(bids_dir)
    errors = report.errors if report is not None else ()
    subjects: dict[str, str] = {}
    general = []
    for line in errors:
        if found := _SUBJECT.search(line):
            subjects.setdefault(found[1], line)
        else:
            general.append(line)
    if general:
        shown = "\n".join(f"  {line}" for line in general[:10])
        raise ValidationError(
            f"{bids_dir} is no valid BIDS dataset ({len(errors)} errors); correct it or use "
            f"--skip-bids-validation:\n{shown}"
        )
    return subjects


def _lines(issues: dict[str, Any], severity: str) -> tuple[str, ...]:
    messages = issues.get("codeMessages", {})
    return tuple(
        " ".join(
            part
            for part in (
                issue["code"],
                issue.get("subCode", ""),
                issue.get("location", ""),
                (issue.get("issueMessage") or messages.get(issue["code"], "")).partition("\n")[0],
            )
            if part
        )
        for issue in issues["issues"]
        if issue["severity"] == severity
    )
