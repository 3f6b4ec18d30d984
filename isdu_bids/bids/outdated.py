"""What earlier runs wrote of a scan, and what is not a result of it now."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from math import nan
from pathlib import Path

from isdu_bids.bids.acquisition import Acquisition
from isdu_bids.bids.layout import figure_folder, log_folder, summary_path
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
    for path, entities in _outputs(acquisition, folders):
        spaces = {entities.get(key) for key in ("space", "from", "to")}
        looked_at = space in spaces if space else spaces.isdisjoint(other_spaces)
        if looked_at and _stem(path) not in current:
            path.unlink(missing_ok=True)


def remove_unfinished(output_dir: Path, acquisition: Acquisition) -> None:
    """Remove what a killed process left half written (`isdu_bids.files.replacing`)."""
    folder = scan_folder(output_dir, acquisition)
    for datatype in ("anat", "fmap"):
        for path in (folder / datatype).glob(f".????????.{acquisition.name}_*"):
            path.unlink(missing_ok=True)


def set_aside(output_dir: Path, scan_name: str, run_uuid: str) -> Path | None:
    """Move what earlier runs wrote of a scan that fails now: it must not pass for a result.

    Nothing is deleted, but the names in the new place end on ``.earlier``, so that nothing that
    collects maps finds them.

    Parameters
    ----------
    output_dir
        Root of the derivative dataset.
    scan_name
        Of the scan that failed.
    run_uuid
        Of this run.

    Returns
    -------
    Path or None
        Where the files are now, if there were any.
    """
    try:
        entities, _, _ = parse_name(f"{scan_name}_scan")
    except DataError:  # of such a name nothing is ever written
        return None
    labels = (entities.get(key) for key in SCAN_ENTITIES)
    acquisition = Acquisition(*labels, field_strength_t=nan)  # type: ignore[arg-type]
    paths = files_of_scan(output_dir, acquisition)
    place = log_folder(output_dir, acquisition.subject) / run_uuid / "earlier"
    for path in paths:
        place.mkdir(parents=True, exist_ok=True)
        path.replace(place / f"{path.name}.earlier")
    return place if paths else None


def files_of_scan(output_dir: Path, acquisition: Acquisition) -> list[Path]:
    """Everything that is written of a scan alone: images, tables, figures and its record."""
    folder = scan_folder(output_dir, acquisition)
    paths = [path for path, _ in _outputs(acquisition, (folder / "anat", folder / "fmap"))]
    for start in ("desc-", "space-", "viewer."):
        paths += figure_folder(output_dir, acquisition).glob(f"{acquisition.name}_{start}*")
    record = summary_path(output_dir, acquisition)
    return sorted([*paths, *([record] if record.exists() else [])])


def _outputs(
    acquisition: Acquisition, folders: Iterable[Path]
) -> Iterator[tuple[Path, dict[str, str]]]:
    """Files in folders that are outputs of a scan by their names, with their entities."""
    for path in [path for folder in folders for path in folder.glob("sub-*")]:
        entities = _output_entities(path)
        own = scan_entities(acquisition, path.parent.name)
        if own == {key: label for key, label in entities.items() if key in SCAN_ENTITIES}:
            yield path, entities


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
