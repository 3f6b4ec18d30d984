"""JSON sidecars and the inheritance principle."""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from isdu_bids.bids.names import parse_name
from isdu_bids.errors import DataError
from isdu_bids.files import file_state, read_json


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
        here = [
            (len(required), sidecar)
            for sidecar, required, of in _sidecars(folder, *file_state(folder))
            if of == suffix and required.items() <= entities.items()
        ]
        found += [sidecar for _, sidecar in sorted(here)]
    return found


@lru_cache(maxsize=8)  # a folder above thousands of images is listed once
def _sidecars(folder: Path, *_state: int) -> list[tuple[Path, dict[str, str], str]]:
    """Sidecars in a folder, with their entities and suffix."""
    sidecars = []
    for path in folder.glob("*.json"):
        with suppress(DataError):  # some other JSON file, not ours to judge
            entities, suffix, _ = parse_name(path)
            sidecars.append((path, entities, suffix))
    return sidecars
