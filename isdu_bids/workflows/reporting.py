"""Reports from what lies in the output folder: they can be written again at any time."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from isdu_bids.bids.layout import log_folder
from isdu_bids.quality.flags import flag_scan, processing_flags
from isdu_bids.quality.segmentation import flag_segmentation
from isdu_bids.quality.template import flag_template
from isdu_bids.reports.methods_text import methods_text, write_citation
from isdu_bids.reports.subject import ScanSummary, write_subject_report

_SUFFIX = "_summary.json"


def write_reports(
    output_dir: Path,
    subjects: Sequence[str],
    *,
    run_uuid: str,
    command: str,
    failures: Mapping[str, str],
) -> list[Path]:
    """Write the report of each subject, and the methods text of the dataset.

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
    pages = []
    texts: dict[str, None] = {}  # in order, each once: scans may differ in echoes or methods
    for subject in subjects:
        folder = log_folder(output_dir, subject)
        found, own = read_summaries(folder)
        own |= {
            name: why for name, why in failures.items() if name.split("_")[0] == f"sub-{subject}"
        }
        if not found and not own:
            continue
        # what failed in this run must not pass for a result of it
        found = [content for content in found if content["name"] not in own]
        methods = [methods_text(content["sentences"]) for content in found]
        texts |= dict.fromkeys(methods)
        pages.append(
            write_subject_report(
                output_dir,
                subject,
                scans=[summary_of(content) for content in found],
                run_uuid=run_uuid,
                methods="\n".join(dict.fromkeys(methods)),
                about=about(command),
                failures=own,
                crash_files=sorted((folder / run_uuid).glob("crash-*.txt")),
            )
        )
    if texts:
        write_citation(output_dir, "\n".join(texts))
    return pages


def read_summaries(folder: Path) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Summaries of a subject's scans, and what is wrong with those that cannot be read."""
    found, unreadable = [], {}
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        try:
            content = json.loads(path.read_text())
            summary_of(content)
            found.append(content)
        except (OSError, ValueError, KeyError, TypeError) as error:
            name = path.name.removesuffix(_SUFFIX)
            unreadable[name] = f"{path} is damaged or of another version ({error}); run it again"
    return found, unreadable


def summary_of(content: Mapping[str, Any]) -> ScanSummary:
    """Scan summary from the JSON that `interfaces.outputs.WriteDerivatives` leaves."""
    measures = {name: float("nan") if v is None else v for name, v in content["measures"].items()}
    return ScanSummary(
        name=content["name"],
        **content["acquisition"],
        facts=content["summary"],
        measures=measures,
        flags=[
            *processing_flags(content["flags"]),
            *flag_scan(measures),
            *flag_segmentation(measures),
            *flag_template(measures),
        ],
        regions=content.get("regions"),
    )


def about(command: str) -> dict[str, str]:
    """Tell what made the report."""
    return {
        "Command": command,
        "Date": f"{datetime.now():%Y-%m-%d %H:%M}",
        "Python": platform.python_version(),
        **{package: version(package) for package in ("torch", "numpy", "nipype", "nibabel")},
    }
