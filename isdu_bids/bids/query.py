"""From a dataset to the scans to process. PyBIDS selects; `assembly` checks."""

from __future__ import annotations

import json
import logging
import os
import re
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any

from isdu_bids.bids.acquisition import Acquisition
from isdu_bids.bids.assembly import assemble
from isdu_bids.bids.contradictions import check_folder
from isdu_bids.bids.labels import find_dseg
from isdu_bids.bids.masks import check_pattern, derivative_folders, find_mask
from isdu_bids.bids.names import parse_name, scan_name
from isdu_bids.errors import DataError, IsduError, NoInputError, NoMatchError, UsageError
from isdu_bids.files import read_json

#: Name of our query in a BIDS filter file, and what it selects unless the file says otherwise.
QUERY_NAME = "megre"
DEFAULT_FILTERS: Mapping[str, Any] = {
    "suffix": ["MEGRE", "T2starw"],
    "extension": [".nii", ".nii.gz"],
}

logger = logging.getLogger(__name__)

#: What Python makes of bytes in a file name that are not UTF-8. SQLite, and so PyBIDS, takes none.
_NO_TEXT = re.compile("[\udc80-\udcff]")
_NO_IMAGE = re.compile(r"\.(json|tsv|tsv\.gz)$")  # half of the files; sidecars are read by us
_NOT_RAW = re.compile(r"^/(code|derivatives|models|sourcedata|stimuli)(/|$)")


@dataclass(frozen=True)
class Problem:
    """A scan that cannot be processed: its name, one line on why, and the class of error."""

    name: str
    message: str
    error: type[IsduError]


@dataclass(frozen=True)
class Query:
    """What was found, in the order of names."""

    acquisitions: tuple[Acquisition, ...]
    problems: tuple[Problem, ...]


def find_acquisitions(
    bids_dir: Path | str,
    *,
    participant_labels: Sequence[str] | None = None,
    session_labels: Sequence[str] | None = None,
    filters: Mapping[str, Mapping[str, Any]] | None = None,
    database_dir: Path | str | None = None,
    mask_pattern: str | None = None,
    derivatives: Sequence[Path | str] = (),
) -> Query:
    """Find every gradient-echo scan with phase, and say what is wrong with those that cannot run.

    Parameters
    ----------
    bids_dir
        Root of the raw dataset.
    participant_labels, session_labels
        Labels to select, with or without ``sub-`` and ``ses-``; all if None.
    filters
        Content of a BIDS filter file. The PyBIDS entities under ``megre`` replace those of
        `DEFAULT_FILTERS`; None stands for "must be absent", ``"*"`` for "any".
    database_dir
        Folder of a PyBIDS index of the whole dataset, which is created if it is absent.
    mask_pattern
        Glob of the user's brain masks, relative to ``bids_dir`` or to one of ``derivatives``, with
        ``{subject} {session} {acquisition} {run}`` filled in.
    derivatives
        ``PATH`` or ``NAME=PATH`` of derivative datasets, searched for ``desc-brain_mask`` and
        ``dseg`` images of the same entities.

    Raises
    ------
    NoInputError
        If the dataset is missing or has no subject.
    NoMatchError
        If the labels or filters select nothing; what exists is listed.
    UsageError
        If the filters, the mask pattern, the database or a derivative dataset cannot be used.
    """
    bids_dir = Path(bids_dir).resolve()
    if not _is_text(bids_dir):
        raise UsageError(f"{_shown(bids_dir)}: the path is not UTF-8; rename the folder")
    subjects = _subjects(bids_dir, participant_labels)
    folders = derivative_folders(derivatives)
    if mask_pattern is not None:
        check_pattern(mask_pattern)
    problems = _unreadable_names(bids_dir, participant_labels and subjects)
    if not subjects:
        return Query((), tuple(problems))
    files = _select(bids_dir, subjects, session_labels, filters, database_dir)

    acquisitions: dict[str, Acquisition] = {}
    for name, scan_files in _scans(files, bids_dir):
        try:
            mask_file = find_mask(scan_files[0], bids_dir, mask_pattern, folders)
            dseg_file = find_dseg(scan_files[0], folders)
            acquisition = assemble(scan_files, bids_dir, mask_file, dseg_file)
            if acquisition.name in acquisitions:
                raise DataError(
                    f"{scan_files[0]} and {acquisitions[acquisition.name].source_files[0]} would "
                    "write the same outputs; select one of them by a BIDS filter file"
                )
            acquisitions[acquisition.name] = acquisition
        except IsduError as error:
            problems.append(Problem(name, str(error), type(error)))
        except Exception as error:  # whatever a file does to a library stops this scan alone
            logger.debug("%s", name, exc_info=True)
            reason = " ".join(str(error).split()) or "no message"
            message = f"{scan_files[0]}: a file of this scan cannot be used "
            message += f"({type(error).__name__}: {shorten(reason, 200)}); convert the scan again"
            problems.append(Problem(name, message, DataError))
    if not acquisitions and not problems:
        raise NoMatchError(
            f"{bids_dir}: no scan with phase is selected, only {_listed(p.name for p in files)}; "
            "name the parts part-mag and part-phase, or change the BIDS filter file"
        )
    return Query(tuple(acquisitions.values()), tuple(problems))


def read_filter_file(path: Path | str) -> Mapping[str, Mapping[str, Any]]:
    """Read a BIDS filter file: JSON, ``{"megre": {"acquisition": "qsm", ...}}``.

    Raises
    ------
    UsageError
        If it is no JSON or does not have that form.
    """
    try:
        filters = read_json(Path(path))
    except DataError as error:
        raise UsageError(str(error)) from error
    _own_filters(filters)
    return filters


def _own_filters(filters: Mapping[str, Any]) -> Mapping[str, Any]:
    own = filters.get(QUERY_NAME)
    if not isinstance(own, Mapping):
        raise UsageError(
            f'the BIDS filter file has no query "{QUERY_NAME}", only {_listed(filters)}; '
            f'write e.g. {{"{QUERY_NAME}": {{"acquisition": "qsm"}}}}'
        )
    return own


def _subjects(bids_dir: Path, labels: Sequence[str] | None) -> list[str]:
    if not bids_dir.is_dir():
        raise NoInputError(f"{bids_dir} is no folder; give the root of a BIDS dataset")
    folders = [path for path in bids_dir.glob("sub-*") if path.is_dir()]
    existing = sorted(path.name.removeprefix("sub-") for path in folders if _is_text(path))
    if not folders:
        raise NoInputError(f"{bids_dir} has no sub-* folder; give the root of a BIDS dataset")
    wanted = [label.removeprefix("sub-") for label in labels] if labels else existing
    if unknown := sorted(set(wanted) - set(existing)):
        raise NoMatchError(
            f"{bids_dir} has no participant {', '.join(unknown)}; it has {_listed(existing)}"
        )
    return wanted


def _select(
    bids_dir: Path,
    subjects: Sequence[str],
    session_labels: Sequence[str] | None,
    filters: Mapping[str, Any] | None,
    database_dir: Path | str | None,
) -> list[Path]:
    """Images that the labels and filters ask for."""
    entities = {**DEFAULT_FILTERS, **(_own_filters(filters) if filters is not None else {})}
    if session_labels:
        entities["session"] = [label.removeprefix("ses-") for label in session_labels]
    entities["subject"] = list(subjects)

    layout, query = _index(bids_dir, subjects, database_dir)
    special = {"null": query.NONE, '"*"': query.ANY}
    pybids_filters = {k: special.get(json.dumps(v), v) for k, v in entities.items()}
    try:
        selected = layout.get(return_type="filename", **pybids_filters)
    except (ValueError, TypeError) as error:
        raise UsageError(f"the BIDS filter file cannot be used: {error}") from error
    if not selected:
        have = {
            key: layout.get(return_type="id", target=key, **_images(subjects)) for key in _LISTED
        }
        raise NoMatchError(
            f"{bids_dir}: nothing has {_described(entities)}; the images of the selected "
            f"participants have {_described({k: v for k, v in have.items() if v})}"
        )
    return sorted(bids_dir / Path(path).relative_to(layout.root) for path in selected)


_LISTED = ("session", "acquisition", "reconstruction", "run", "suffix")


def _images(subjects: Collection[str]) -> dict[str, Any]:
    return {"subject": list(subjects), "extension": DEFAULT_FILTERS["extension"]}


def _index(
    bids_dir: Path, subjects: Collection[str], database_dir: Path | str | None
) -> tuple[Any, Any]:
    """PyBIDS layout of file names only; sidecars are read later: a broken one stops one scan."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyBIDS warns about its own future, not about the data
        from bids.layout import BIDSLayout, BIDSLayoutIndexer, Query

        ignore = [_NOT_RAW, _NO_TEXT, _NO_IMAGE]
        if database_dir is None and len(subjects) < len(list(bids_dir.glob("sub-*"))):
            labels = "|".join(map(re.escape, subjects))
            ignore.append(re.compile(rf"^/sub-(?!({labels})(/|$))"))
        indexer = BIDSLayoutIndexer(validate=False, ignore=ignore, index_metadata=False)
        layout = BIDSLayout(bids_dir, validate=False, database_path=database_dir, indexer=indexer)
    if Path(layout.root).resolve() != bids_dir:
        raise UsageError(
            f"the PyBIDS database {database_dir} belongs to {layout.root}, not to {bids_dir}; "
            "give another --bids-database-dir"
        )
    return layout, Query


def _scans(files: Iterable[Path], bids_dir: Path) -> list[tuple[str, list[Path]]]:
    """Group images by scan. Images without ``part`` are no QSM scan unless they are a MEGRE."""
    scans: dict[tuple[str, str], list[Path]] = {}
    for path in files:
        try:
            check_folder(path, bids_dir)
            name, suffix = scan_name(path), parse_name(path)[1]
        except DataError:
            # one of its own, of the subject in whose folder it lies: assemble() says what is wrong
            name, suffix = f"{path.relative_to(bids_dir).parts[0]}_{path.name}", ""
        scans.setdefault((name, suffix), []).append(path)
    return [
        (name, paths)
        for (name, suffix), paths in sorted(scans.items())
        if suffix in ("MEGRE", "") or any("_part-" in path.name for path in paths)
    ]


def _unreadable_names(bids_dir: Path, subjects: Sequence[str] | None) -> list[Problem]:
    """Images whose names are not UTF-8, of the selected subjects or all: nothing can use them."""
    problems = []
    for folder in sorted(bids_dir.glob("sub-*")):
        if subjects and folder.name.removeprefix("sub-") not in subjects:
            continue
        for root, _, names in os.walk(folder):
            for path in (Path(root, name) for name in sorted(names) if ".nii" in name):
                if not _is_text(path):
                    relative = path.relative_to(bids_dir)
                    message = f"{_shown(path)}: the name is not UTF-8; rename it"
                    name = f"{_shown(relative.parts[0])}_{_shown(relative.name)}"
                    problems.append(Problem(name, message, DataError))
    return problems


def _is_text(path: Path) -> bool:
    return _NO_TEXT.search(str(path)) is None


def _shown(path: Path | str) -> str:
    """Write out bytes that are no text by their numbers, for terminals and pages."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _listed(items: Iterable[str], at_most: int = 20) -> str:
    names = sorted(set(items))
    return ", ".join(names[:at_most]) + (", ..." if len(names) > at_most else "")


def _described(entities: Mapping[str, Any]) -> str:
    return "; ".join(
        f"{key} {_listed(map(str, value)) if isinstance(value, (list, tuple)) else value}"
        for key, value in entities.items()
    )
