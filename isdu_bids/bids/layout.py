"""Files of a derivative dataset that BIDS has no name for; ``.bidsignore`` lists their folders."""

from __future__ import annotations

from pathlib import Path

from isdu_bids.bids.acquisition import Acquisition

_SUMMARY = "_summary.json"
_FAILURE = "_failure.json"


def figure_folder(output_dir: Path, acquisition: Acquisition) -> Path:
    """Figures of the report."""
    return output_dir / f"sub-{acquisition.subject}" / "figures"


def viewer_folder(output_dir: Path) -> Path:
    """Script of the viewer, which all of its pages share."""
    return output_dir / "logs" / "viewer"


def report_path(output_dir: Path, subject: str) -> Path:
    """Page on all scans of a subject."""
    return output_dir / f"sub-{subject}.html"


def log_folder(output_dir: Path, subject: str) -> Path:
    """Summaries, and one folder per run with its settings and crash files."""
    return output_dir / f"sub-{subject}" / "log"


def summary_path(output_dir: Path, acquisition: Acquisition) -> Path:
    """Everything that the report says of a scan, as JSON."""
    return log_folder(output_dir, acquisition.subject) / f"{acquisition.name}{_SUMMARY}"


def summary_files(output_dir: Path, subject: str) -> list[Path]:
    """Summaries of all scans of a subject that there are."""
    return sorted(log_folder(output_dir, subject).glob(f"sub-*{_SUMMARY}"))


def summary_name(path: Path) -> str:
    """Name of the scan whose summary a file is.

    Examples
    --------
    >>> summary_name(Path("sub-01/log/sub-01_run-1_summary.json"))
    'sub-01_run-1'
    """
    return path.name.removesuffix(_SUMMARY)


def failure_path(output_dir: Path, name: str) -> Path:
    """Why a scan failed in its last run; a run that succeeds removes it."""
    return log_folder(output_dir, subject_of(name)) / f"{name}{_FAILURE}"


def failure_files(output_dir: Path, subject: str) -> dict[str, Path]:
    """Those of a subject that there are, by the name of the scan."""
    found = sorted(log_folder(output_dir, subject).glob(f"sub-*{_FAILURE}"))
    return {path.name.removesuffix(_FAILURE): path for path in found}


def thumbnail_path(output_dir: Path, name: str) -> Path:
    """Small picture of a scan's map, for pages over many scans."""
    return output_dir / f"sub-{subject_of(name)}" / "figures" / f"{name}_desc-thumbnail_Chimap.webp"


def subject_of(name: str) -> str:
    """Label of the subject of a scan, by the scan's name.

    Examples
    --------
    >>> subject_of("sub-01_run-1")
    '01'
    """
    return name.partition("_")[0].removeprefix("sub-")
