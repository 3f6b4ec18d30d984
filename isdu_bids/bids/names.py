"""BIDS file names: entities in, name out, and back.

PyBIDS would do both, but it silently skips what it does not know of a name (``sub-01_copy_MEGRE``
reads as ``sub-01_MEGRE``), and every worker would wait for its import.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from isdu_bids.errors import DataError

#: Entities that name a scan, and all entities used here, in the order that BIDS demands.
SCAN_ENTITIES = ("sub", "ses", "acq", "rec", "run")
ENTITIES = (*SCAN_ENTITIES, "echo", "part", "space", "seg", "res", "from", "to", "mode", "desc")


def build_name(entities: Mapping[str, str], suffix: str = "", extension: str = "") -> str:
    """Join entities in BIDS order.

    Examples
    --------
    >>> build_name({"run": "1", "sub": "01", "desc": "local"}, "fieldmap", ".nii.gz")
    'sub-01_run-1_desc-local_fieldmap.nii.gz'
    """
    ordered = sorted(entities.items(), key=lambda item: ENTITIES.index(item[0]))
    parts = [f"{key}-{label}" for key, label in ordered]
    return "_".join([*parts, suffix] if suffix else parts) + extension


def parse_name(path: Path | str) -> tuple[dict[str, str], str, str]:
    """Split a file name into entities, suffix and extension.

    Examples
    --------
    >>> parse_name("sub-01_echo-02_part-mag_MEGRE.nii.gz")
    ({'sub': '01', 'echo': '02', 'part': 'mag'}, 'MEGRE', '.nii.gz')

    Raises
    ------
    DataError
        If the name does not consist of ``key-label`` pairs and a suffix.
    """
    stem, dot, extension = Path(path).name.partition(".")
    *pairs, suffix = stem.split("_")
    valid = all(re.fullmatch(r"[a-zA-Z]+-[a-zA-Z0-9+]+", pair) for pair in pairs)
    if not valid or "-" in suffix:
        raise DataError(
            f"{path} has no BIDS name; rename it like sub-01_echo-1_part-mag_MEGRE.nii.gz"
        )
    return dict(pair.split("-") for pair in pairs), suffix, dot + extension


def scan_name(path: Path | str) -> str:
    """Name of the scan that a file belongs to: its name without echo, part and suffix.

    Examples
    --------
    >>> scan_name("sub-01_run-2_echo-1_part-mag_MEGRE.nii.gz")
    'sub-01_run-2'

    Raises
    ------
    DataError
        If the file has no BIDS name that starts with a subject.
    """
    entities, _, _ = parse_name(path)
    if "sub" not in entities:
        raise DataError(f"{path} names no subject; rename it like sub-01_{Path(path).name}")
    return build_name({key: entities[key] for key in SCAN_ENTITIES if key in entities})
