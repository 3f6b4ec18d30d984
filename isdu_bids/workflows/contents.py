"""What a scan's files hold, so that nothing is taken for a result of other files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from isdu_bids.bids.acquisition import Acquisition
from isdu_bids.errors import DataError
from isdu_bids.files import beside, file_sha256, file_state, read_json, write_json


def input_files(scan: Acquisition) -> list[Path]:
    """Everything on disk that the maps of a scan are made from."""
    files = [*scan.source_files]
    if scan.mask_file is not None:
        files.append(scan.mask_file)
    if scan.dseg_file is not None:
        files += [scan.dseg_file, *label_files(scan.dseg_file)]
    return files


def label_files(dseg: Path) -> list[Path]:
    """Find the table that names the labels of a segmentation."""
    table = beside(dseg, ".tsv")
    return [table] if table.is_file() else []


class Contents:
    """SHA-256 of files, which are read again only if they may have changed.

    Parameters
    ----------
    cache
        JSON file that remembers the checksums.
    """

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        try:
            self._known = read_json(cache)
        except DataError:  # there is none, or it is damaged
            self._known = {}

    def of(self, paths: Iterable[Path]) -> dict[str, str]:
        """SHA-256 of files by their paths, in their order."""
        return {_key(path): self._sha256(path) for path in paths}

    def of_scan(self, scan: Acquisition) -> str:
        """Checksum of everything that the maps of a scan are made from, wherever it lies."""
        checksums = [self._sha256(path) for path in input_files(scan)]
        roles = [len(scan.magnitude_files), scan.mask_file is None, scan.dseg_file is None]
        parts = [scan.echo_times_s, scan.field_strength_t, scan.metadata, roles, checksums]
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def save(self) -> None:
        """Remember for the next run."""
        write_json(self.cache, self._known)

    def _sha256(self, path: Path) -> str:
        try:
            state = file_state(path)
            *before, checksum = self._known.get(_key(path), [None])
            if before != state:
                checksum = file_sha256(path)
                self._known[_key(path)] = [*state, checksum]
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror}); copy it again") from error
        return str(checksum)


def _key(path: Path) -> str:
    """Path as text that can be stored, also where its bytes are no UTF-8."""
    return str(path).encode("utf-8", "backslashreplace").decode()
