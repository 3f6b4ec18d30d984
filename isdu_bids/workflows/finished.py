"""Scans that need no further run: made of the same files in the same way, and all still there."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from isdu_bids.bids.acquisition import Acquisition
from isdu_bids.bids.layout import failure_path
from isdu_bids.bids.outdated import files_of_scan
from isdu_bids.errors import DataError
from isdu_bids.files import file_state, read_json, write_json


class Finished:
    """What earlier runs finished in an output folder, remembered in the work folder.

    Parameters
    ----------
    work_dir, output_dir
        Folders of the run.
    made_of
        By the name of each scan, a checksum of all that decides what is written of it.
    """

    def __init__(self, work_dir: Path, output_dir: Path, made_of: Mapping[str, str]) -> None:
        place = hashlib.sha256(str(output_dir.resolve()).encode("utf-8", "surrogateescape"))
        self.folder = work_dir / "finished" / place.hexdigest()[:8]
        self.output_dir, self.made_of = output_dir, made_of

    def holds(self, scan: Acquisition) -> bool:
        """Whether a scan was made of the same, nobody has touched its files, and no run failed."""
        if failure_path(self.output_dir, scan.name).exists():
            return False
        try:
            return bool(read_json(self._path(scan)) == self._now(scan))
        except (DataError, OSError):
            return False

    def forget(self, scan: Acquisition) -> None:
        """Take a scan for unfinished while it is made again."""
        self._path(scan).unlink(missing_ok=True)

    def remember(self, scan: Acquisition) -> None:
        """Note that all of a scan is written."""
        write_json(self._path(scan), self._now(scan))

    def _now(self, scan: Acquisition) -> dict[str, object]:
        files = files_of_scan(self.output_dir, scan)
        return {
            "made_of": self.made_of[scan.name],
            "files": {str(path.relative_to(self.output_dir)): file_state(path) for path in files},
        }

    def _path(self, scan: Acquisition) -> Path:
        return self.folder / f"{scan.name}.json"
