"""The user's own brain masks: by a pattern, or from derivative datasets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from isdu_bids.bids.names import parse_name, scan_name
from isdu_bids.errors import DataError, UsageError

_PLACEHOLDERS = {"subject": "sub", "session": "ses", "acquisition": "acq", "run": "run"}


def check_pattern(pattern: str) -> None:
    """Raise a UsageError if a mask pattern is absolute or has unknown placeholders."""
    try:
        filled = pattern.format(**dict.fromkeys(_PLACEHOLDERS, "x"))
    except (KeyError, IndexError, ValueError) as error:
        known = " ".join(f"{{{key}}}" for key in _PLACEHOLDERS)
        raise UsageError(f"the mask pattern {pattern} may only use {known}") from error
    if not filled or Path(filled).is_absolute():
        raise UsageError(
            f"the mask pattern {pattern} must be relative to the dataset or a derivative "
            "dataset; name the folder of the masks with --derivatives"
        )


def derivative_folders(derivatives: Sequence[Path | str]) -> tuple[Path, ...]:
    """Folders of ``PATH`` or ``NAME=PATH`` arguments.

    Raises
    ------
    UsageError
        If one does not exist.
    """
    folders = tuple(Path(str(item).rpartition("=")[2]).absolute() for item in derivatives)
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(
                f"the derivative dataset {folder} does not exist; correct --derivatives"
            )
    return folders


def find_mask(
    image: Path, bids_dir: Path, pattern: str | None, derivatives: Sequence[Path]
) -> Path | None:
    """Find the mask of the scan that ``image`` belongs to.

    With a pattern there must be exactly one; without one, the first derivative dataset that has a
    ``desc-brain_mask`` of the same entities provides it, or none does.

    Raises
    ------
    DataError
        If the choice is empty where a pattern was given, or ambiguous.
    """
    name, (entities, _, _) = scan_name(image), parse_name(image)
    if pattern is not None:
        filled = pattern.format(
            **{key: entities.get(short, "") for key, short in _PLACEHOLDERS.items()}
        )
        mask = only_one(found for root in (bids_dir, *derivatives) for found in root.glob(filled))
        if mask is None:
            raise DataError(f"{image} has no mask {filled}; add it or correct the mask pattern")
        return mask
    for root in derivatives:  # not by PyBIDS, which would index all files of all subjects
        folder = root / f"sub-{entities['sub']}"
        if mask := only_one(folder.rglob(f"{name}_desc-brain_mask.nii*")):
            return mask
    return None


def only_one(found: Iterable[Path]) -> Path | None:
    """Return the only file, or None; a DataError names two of several."""
    files = sorted(set(found))
    if len(files) > 1:
        raise DataError(f"{files[0]} and {files[1]} belong to the same scan; keep one of them")
    return files[0] if files else None
