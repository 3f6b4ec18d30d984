"""Files of a derivative dataset that BIDS has no name for; ``.bidsignore`` lists their folders."""

from __future__ import annotations

from pathlib import Path

from isdu_bids.bids.acquisition import Acquisition

_SUMMARY = "_summary.json"


def figure_folder(output_dir: Path, acquisition: Acquisition) -> Path:
    """Figures of the report."""
    return output_dir / f"sub-{acquisition.subject}" / "figures"


def log_folder(output_dir: Path, subject: str) -> Path:
    """Summaries, and one folder per run with its settings and crash files."""
    return output_dir / f"sub-{subject}" / "log"


def summary_path(output_dir: Path, acquisition: Acquisition) -> Path:
    """Everything that the report says of a scan, as JSON."""
    return log_folder(output_dir, acquisition.subject) / f"{acquisition.name}{_SUMMARY}"


def summary_files(output_dir: Path, subject: str) -> list[Path]:
    """Summaries of all scans of a subject that there are."""
    return sorted(log_folder(output_dir, subject).glob(f"*{_SUMMARY}"))


def summary_name(path: Path) -> str:
    """Name of the scan whose summary a file is.

    Examples
    --------
    >>> summary_name(Path("sub-01/log/sub-01_run-1_summary.json"))
    'sub-01_run-1'
    """
    return path.name.removesuffix(_SUMMARY)
