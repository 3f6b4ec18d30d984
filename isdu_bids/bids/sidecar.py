"""JSON sidecars and the inheritance principle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from isdu_bids.bids.names import parse_name
from isdu_bids.errors import DataError
from isdu_bids.files import read_json


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
