"""The root of the derivative dataset: where it may lie, and the files that describe it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any

from isdu_bids import __version__
from isdu_bids.errors import DataError, OutputError, UsageError
from isdu_bids.files import read_json, write_json, write_text

APP_NAME = "isdu-bids"

#: Newest version that the released validator knows.
BIDS_VERSION = "1.10.1"

#: Names without slashes: the validator does not match patterns that end in one.
BIDSIGNORE = "*.html\nfigures\nlog\n*_xfm.*\n*_stats.*\ngroup_*\n"

_README = """\
# Quantitative susceptibility maps by {app} {version}

Susceptibility is in ppm (`*_Chimap`), fields are in Hz (`fmap/*_fieldmap`), T2* in s, R2* in 1/s.
Paramagnetic tissue is positive. Every image has a JSON sidecar that says how it was made.

Read `sub-*.html` first: it shows each step, and what the quality checks think of it.
The text for a methods section, with its references, is in `logs/CITATION.md`.
"""


def guard_output(
    bids_dir: Path,
    output_dir: Path,
    work_dir: Path | None = None,
    derivatives: Sequence[Path] = (),
) -> None:
    """Refuse folders in which results would damage the input or other results.

    The output may lie anywhere but in the input, except in ``<bids_dir>/derivatives/<name>``.
    It is created if it does not exist.

    Raises
    ------
    UsageError
        If a folder lies where it must not; another one is suggested.
    OutputError
        If the output or work folder cannot be written.
    """
    bids_dir, output_dir = bids_dir.resolve(), output_dir.resolve()
    inside = bids_dir / "derivatives"
    if output_dir.is_relative_to(bids_dir) and inside not in output_dir.parents:
        raise UsageError(
            f"the output folder {output_dir} lies in the input; use {inside / APP_NAME}"
        )
    if output_dir in (folder.resolve() for folder in derivatives):
        raise UsageError(
            f"--derivatives {output_dir} is the output folder, whose masks and labels would pass "
            "for your own; copy those that you have corrected to another folder"
        )
    description = output_dir / "dataset_description.json"
    if description.exists() and not _is_ours(description):
        raise UsageError(
            f"the output folder {output_dir} holds another dataset; use {output_dir / APP_NAME}"
        )
    if work_dir is not None:
        work_dir = work_dir.resolve()
        if work_dir.is_relative_to(bids_dir) or work_dir == output_dir:
            raise UsageError(
                f"the work folder {work_dir} lies in the input or is the output folder; "
                f"use {bids_dir.parent / 'work'}"
            )
        _check_writable(work_dir)
    _check_writable(output_dir)


def write_dataset_files(output_dir: Path, bids_dir: Path) -> None:
    """Write ``dataset_description.json``, ``.bidsignore`` and ``README.md``.

    Each is replaced in one step and does not depend on the job, so that several jobs may share the
    folder. A README that somebody edited is kept.

    Raises
    ------
    OutputError
        If the folder cannot be written.
    """
    write_json(output_dir / "dataset_description.json", dataset_description(bids_dir))
    write_text(output_dir / ".bidsignore", BIDSIGNORE)
    if not (output_dir / "README.md").exists():
        write_text(output_dir / "README.md", _README.format(app=APP_NAME, version=__version__))


def dataset_description(bids_dir: Path) -> dict[str, Any]:
    """Content of ``dataset_description.json`` of a derivative of the dataset in ``bids_dir``."""
    try:
        raw = read_json(bids_dir / "dataset_description.json")
    except DataError:  # the input was validated, or the user chose not to
        raw = {}
    url = bids_dir.resolve().as_uri()
    authors = raw.get("Authors")
    if not isinstance(authors, list) or not authors:
        authors = ["The authors of the raw dataset"]
    return {
        "Name": f"Quantitative susceptibility maps of {raw.get('Name') or bids_dir.resolve().name}",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "License": raw.get("License") or "as the raw dataset",
        "Authors": [*authors, "The isdu-bids developers"],
        "GeneratedBy": [generated_by(os.environ)],
        "SourceDatasets": [{"URL": url}],
        "DatasetLinks": {"raw": url},
    }


def generated_by(environment: Mapping[str, str]) -> dict[str, Any]:
    """Program, version, address of its code, and the container that it runs in.

    The address is that of the package's metadata (``Repository``); containers tell their kind and
    name by ``ISDU_BIDS_CONTAINER_TYPE`` and ``ISDU_BIDS_CONTAINER_TAG``. What is not known is left
    out.

    Examples
    --------
    >>> known = {"ISDU_BIDS_CONTAINER_TYPE": "docker", "ISDU_BIDS_CONTAINER_TAG": "isdu-bids:1.0"}
    >>> generated_by(known)["Container"]
    {'Type': 'docker', 'Tag': 'isdu-bids:1.0'}
    """
    start = "ISDU_BIDS_CONTAINER_"
    container = {
        name.removeprefix(start).capitalize(): environment[name]
        for name in (f"{start}TYPE", f"{start}TAG")
        if environment.get(name)
    }
    fields = {
        "Name": APP_NAME,
        "Version": __version__,
        "CodeURL": _code_url(),
        "Container": container,
    }
    return {name: value for name, value in fields.items() if value}


def _code_url() -> str | None:
    try:
        lines = metadata(APP_NAME).get_all("Project-URL") or []
    except PackageNotFoundError:  # run from its sources
        return None
    return dict(line.split(", ", 1) for line in lines).get("Repository")


def _is_ours(description: Path) -> bool:
    try:
        generated_by = read_json(description)["GeneratedBy"]
        return any(tool["Name"] == APP_NAME for tool in generated_by)
    except (DataError, KeyError, TypeError):
        return False


def _check_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be written ({error.strerror}); choose a folder that you own"
        ) from error
