"""Weights that come with the package, and the checksum by which sidecars name a file."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from pathlib import Path

#: Folder of the packaged weights; ``SHA256SUMS`` lies beside them.
WEIGHTS_FOLDER = Path(str(files("isdu_bids") / "data" / "weights"))


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, as ``sha256sum`` prints it."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
