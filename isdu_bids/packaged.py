"""Weights files: those of the package, and those of FreeSurfer."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from isdu_bids.errors import DataError
from isdu_bids.files import file_sha256

PACKAGE = Path(str(files("isdu_bids")))
#: Folder of the packaged weights; ``SHA256SUMS`` lies beside them.
WEIGHTS_FOLDER = PACKAGE / "data" / "weights"


def checksums(parameters: Mapping[str, Any]) -> dict[str, str]:
    """SHA-256 of the files among the parameters of a method, by the name of the parameter."""
    return {k: file_sha256(value) for k, value in parameters.items() if isinstance(value, Path)}


def find_weights(where: Path | None, file: str) -> Path | None:
    """File with weights: the one given, or in the folder given, or FreeSurfer's; None without.

    Raises
    ------
    DataError
        If the file or folder given has no weights.
    """
    if where is not None:
        path = where / file if where.is_dir() else where
        if not path.is_file():
            raise DataError(f"{path}: no such file; give {file} or its folder")
        return path
    home = os.environ.get("FREESURFER_HOME")
    path = Path(home or "") / "models" / file
    return path if home and path.is_file() else None
