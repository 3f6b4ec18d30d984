"""JSON sidecars: read with the inheritance principle, write atomically."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from isdu_bids.bids.names import parse_name
from isdu_bids.errors import DataError, OutputError


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises
    ------
    DataError
        If the file cannot be read or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is no valid JSON file ({error}); correct it") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} must hold a JSON object, i.e. start with {{")
    return content


def inherited_metadata(image: Path, bids_dir: Path) -> dict[str, Any]:
    """Metadata of an image from every sidecar that applies to it, the nearest winning.

    By the inheritance principle a sidecar applies to the images below its folder that have its
    suffix and all of its entities.
    """
    # PyBIDS reads the same (tested), but only as it indexes a dataset: that takes three times as
    # long with sidecars, and one that is broken stops all scans.
    metadata: dict[str, Any] = {}
    for sidecar in applicable_sidecars(image, bids_dir):
        metadata.update(read_json(sidecar))
    return metadata


def applicable_sidecars(image: Path, bids_dir: Path) -> list[Path]:
    """Sidecars that apply to an image, from the most general to the nearest."""
    entities, suffix, _ = parse_name(image)
    levels = [folder for folder in image.parents if folder.is_relative_to(bids_dir)]
    found = []
    for folder in reversed(levels):
        here = []
        for sidecar in folder.glob(f"*{suffix}.json"):
            try:
                required, sidecar_suffix, _ = parse_name(sidecar)
            except DataError:
                continue  # some other JSON file, not ours to judge
            if sidecar_suffix == suffix and required.items() <= entities.items():
                here.append((len(required), sidecar))
        found += [sidecar for _, sidecar in sorted(here)]
    return found


def write_json(path: Path, content: Mapping[str, Any]) -> Path:
    """Write a JSON object atomically; what is not a number becomes null, as JSON has no NaN."""
    text = json.dumps(finite(content), indent=2, ensure_ascii=False, allow_nan=False)
    return write_text(path, text + "\n")


def finite(value: Any) -> Any:
    """Copy of nested mappings and sequences with None in place of NaN and infinity."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_text(path: Path, text: str) -> Path:
    """Write a text file so that no other job ever sees half of it.

    Raises
    ------
    OutputError
        If the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=path.parent)
        with open(handle, "w", encoding="utf-8") as file:  # noqa: PTH123
            file.write(text)
        os.chmod(temporary, 0o666 & ~_umask())  # noqa: PTH101
        os.replace(temporary, path)  # noqa: PTH105
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written ({error.strerror}); check the folder"
        ) from error
    return path


def _umask() -> int:
    """Permissions that the user denies; the system only tells by setting them."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
