"""What other settings wrote of a scan, in earlier runs."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from isdu_bids.bids.acquisition import Acquisition
from isdu_bids.bids.names import SCAN_ENTITIES, parse_name
from isdu_bids.bids.outputs import OUTPUTS, scan_entities, scan_folder
from isdu_bids.errors import DataError


def remove_outdated(
    output_dir: Path,
    acquisition: Acquisition,
    written: Collection[Path] = (),
    *,
    space: str | None = None,
    other_spaces: Collection[str] = (),
) -> None:
    """Remove a scan's outputs of earlier runs, which other settings wrote.

    A table of regions beside a map that it was not measured in would look right and be wrong.
    Files that are no output of this table stay, and so do field maps where none were written:
    their names do not tell which ``rec`` they belong to.

    Parameters
    ----------
    output_dir, acquisition
        As for `output_path`.
    written
        What this run wrote, which stays.
    space
        Look at the files of this template only.
    other_spaces
        Templates whose files stay: other steps write them.
    """
    current = {_stem(path) for path in written}
    folders = {path.parent for path in written} or {scan_folder(output_dir, acquisition) / "anat"}
    for path in (path for folder in folders for path in folder.glob("sub-*")):
        entities = _output_entities(path)
        own = scan_entities(acquisition, path.parent.name)
        if own != {key: label for key, label in entities.items() if key in SCAN_ENTITIES}:
            continue
        spaces = {entities.get(key) for key in ("space", "from", "to")}
        looked_at = space in spaces if space else spaces.isdisjoint(other_spaces)
        if looked_at and _stem(path) not in current:
            path.unlink(missing_ok=True)


def _output_entities(path: Path) -> dict[str, str]:
    """Entities of a file that is named as an output or its sidecar, none of any other."""
    try:
        entities, suffix, extension = parse_name(path)
    except DataError:
        return {}
    free = (*SCAN_ENTITIES, "echo", "space", "res", "seg", "from", "to")
    kind = {key: label for key, label in entities.items() if key not in free}
    if (suffix, extension, kind) == ("xfm", ".h5", {"mode": "image"}):
        return entities
    for output in OUTPUTS.values():
        fixed = {key: label for key, label in output.entities.items() if key != "seg"}
        is_alike = (suffix, kind) == (output.suffix, fixed) and extension in (
            output.extension,
            ".json",
        )
        is_per_echo = "echo" not in entities or output.per_echo
        if is_alike and is_per_echo and ("seg" in entities) == ("seg" in output.entities):
            return entities
    return {}


def _stem(path: Path) -> str:
    """Name that a file and its sidecar share."""
    return path.name.partition(".")[0]
