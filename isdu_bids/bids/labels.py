"""The user's own segmentations from derivative datasets, and what their labels mean."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypedDict

from isdu_bids import images
from isdu_bids.bids.masks import only_one
from isdu_bids.bids.names import parse_name, scan_name
from isdu_bids.bids.tables import read_label_names
from isdu_bids.errors import DataError
from isdu_bids.files import beside
from isdu_bids.segmentation.labels import GROUPS, REGIONS, Region, named_region
from isdu_bids.segmentation.statistics import CSF_LABELS

logger = logging.getLogger(__name__)


class Meaning(TypedDict):
    """What labels mean: arguments of `isdu_bids.segmentation.statistics.region_statistics`."""

    regions: dict[int, Region]
    groups: dict[str, tuple[int, ...]]
    csf_labels: tuple[int, ...]
    expected_labels: tuple[int, ...]


def find_dseg(image: Path, derivatives: Sequence[Path]) -> Path | None:
    """Find a segmentation on the grid of the scan that ``image`` belongs to, or None.

    It is the only ``_dseg`` of the scan's entities and grid in the first derivative dataset that
    has one. Segmentations on other grids (a T1w) are not taken: nothing says how the head moved
    between them.

    Raises
    ------
    DataError
        If the choice is ambiguous.
    """
    subject = parse_name(image)[0]["sub"]
    for root in derivatives:
        found = (root / f"sub-{subject}").rglob("*_dseg.nii*")
        if dseg := only_one(path for path in found if _belongs_to(path, image)):
            return dseg
    return None


def _belongs_to(dseg: Path, image: Path) -> bool:
    try:
        same_scan = scan_name(dseg) == scan_name(image)
    except DataError:  # not a name of BIDS
        return False
    if not same_scan:
        return False
    try:
        images.check_same_grid([image, dseg])
    except DataError as error:
        logger.info("%s is not used: %s", dseg, error)
        return False
    return True


def label_meaning(dseg: Path, found: Iterable[int]) -> Meaning:
    """Say what a user's labels mean: by the table beside them, else FreeSurfer's.

    A label whose name in the table is not FreeSurfer's has that name, no side, and is part of no
    merged region.

    Parameters
    ----------
    dseg
        The segmentation.
    found
        Labels that occur in it.

    Raises
    ------
    DataError
        If the table is broken, or there is none and a label is not FreeSurfer's: names would be
        guessed.
    """
    found = {int(label) for label in found} - {0}
    names = label_names(dseg)
    if names is None:
        if unknown := sorted(found - set(REGIONS)):
            raise DataError(
                f"{dseg}: labels {unknown[:10]} are not FreeSurfer's; name all labels in a .tsv "
                "beside it, with columns index and name"
            )
        names = {label: REGIONS[label].name for label in found}
    regions = {label: named_region(label, name) for label, name in names.items() if label}
    ours = {label for label, region in regions.items() if region == REGIONS.get(label)}
    return {
        "regions": regions,
        "groups": {
            name: members
            for name, members in GROUPS.items()
            if ours & set(members) and not (set(members) & set(regions)) - ours
        },
        "csf_labels": tuple(label for label in CSF_LABELS if label in ours),
        "expected_labels": tuple(regions),
    }


def label_names(dseg: Path) -> dict[int, str] | None:
    """Names of the labels from the ``.tsv`` beside a segmentation; None if there is none.

    Raises
    ------
    DataError
        If the table lacks the columns ``index`` and ``name``.
    """
    table = beside(dseg, ".tsv")
    if not table.is_file():
        return None
    try:
        return read_label_names(table)
    except DataError as error:
        raise DataError(
            f"{table}: columns index (a whole number) and name are needed ({error})"
        ) from error
