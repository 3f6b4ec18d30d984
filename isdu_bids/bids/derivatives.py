"""Writing the outputs of the table, each with its sidecar."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from isdu_bids.bids.acquisition import Acquisition
from isdu_bids.bids.outputs import OUTPUTS, label_entities, output_path
from isdu_bids.bids.provenance import sidecar, source_uris
from isdu_bids.bids.tables import Table, tsv
from isdu_bids.errors import DataError
from isdu_bids.files import beside, replacing, write_json, write_text
from isdu_bids.images import save_volume
from isdu_bids.units import ppm_to_hz


def write_outputs(
    output_dir: Path,
    acquisition: Acquisition,
    maps: Mapping[str, npt.ArrayLike | Table],
    affine: npt.ArrayLike,
    *,
    facts: Mapping[str, Any],
    flags_of: Callable[[Collection[str]], Collection[str]],
    write_fields: bool = True,
) -> list[Path]:
    """Write every output of the table that there is a map of.

    Parameters
    ----------
    output_dir, acquisition
        As for `isdu_bids.bids.outputs.output_path`.
    maps
        Key of the table -> volume, or ``(echo, x, y, z)`` where there is one file per echo, or the
        columns of a table. Fields are in ppm of B0. Maps of other names are not written.
    affine
        Voxel to world.
    facts
        What processing decided, for the sidecars.
    flags_of
        Names of the steps of an output -> what a reader of it must know.
    write_fields
        False: leave the folder ``fmap`` out, because two scans would have the same names there.

    Returns
    -------
    list of Path
        The files, without their sidecars.
    """
    written = {}
    for key, output in OUTPUTS.items():
        if key not in maps or (output.datatype == "fmap" and not write_fields):
            continue
        echoes = range(1, len(maps[key]) + 1) if output.per_echo else (None,)  # type: ignore[arg-type]
        written[key] = [
            output_path(output_dir, acquisition, key, echo, label_entities(key, facts))
            for echo in echoes
        ]
    for key, paths in written.items():
        output, data = OUTPUTS[key], _stored(key, maps[key], acquisition.field_strength_t)
        sources = source_uris(output_dir, acquisition, key, written, maps, facts)
        flags = flags_of(output.made_by)
        volumes = data if output.per_echo else [data]
        for echo, (path, volume) in enumerate(zip(paths, volumes, strict=True), start=1):
            number = echo if output.per_echo else None
            fields = sidecar(acquisition, key, number, sources=sources, facts=facts, flags=flags)
            if key == "label_names":  # whose name and sidecar are those of the image
                write_file(path, volume, affine)
            else:
                write_with_sidecar(path, volume, affine, fields)
    return [path for paths in written.values() for path in paths]


def write_output(
    output_dir: Path,
    acquisition: Acquisition,
    key: str,
    data: npt.ArrayLike | Table,
    affine: npt.ArrayLike,
    fields: Mapping[str, Any],
    entities: Mapping[str, str] = MappingProxyType({}),
) -> Path:
    """Write one output, in the units of its file, with a sidecar that is given.

    Parameters
    ----------
    output_dir, acquisition, key, entities
        As for `isdu_bids.bids.outputs.output_path`.
    data, affine
        As for `write_file`.
    fields
        The sidecar.
    """
    path = output_path(output_dir, acquisition, key, entities=entities)
    write_with_sidecar(path, data, affine, fields)
    return path


def write_with_sidecar(
    path: Path, data: npt.ArrayLike | Table, affine: npt.ArrayLike, fields: Mapping[str, Any]
) -> None:
    """Write a file and its sidecar, so that there is never one without its own.

    Both are complete under other names before either takes its place, the sidecar first. What an
    earlier run wrote goes before that: it must not meet a sidecar that speaks of another image.
    """
    text = beside(path, ".json")
    with replacing(path) as new, replacing(text) as new_text:
        write_file(new, data, affine)
        write_json(new_text, fields)
        path.unlink(missing_ok=True)


def write_file(path: Path, data: npt.ArrayLike | Table, affine: npt.ArrayLike) -> None:
    """Write a volume ``(x, y, z)``, or the columns of a table.

    Raises
    ------
    DataError
        If an image has values that are not finite.
    OutputError
        If the folder cannot be written.
    """
    if isinstance(data, Mapping):
        write_text(path, tsv(data))
        return
    volume = np.asarray(data)
    if volume.ndim != 3:
        raise ValueError(f"{path}: a 3D array is needed, not shape {volume.shape}")
    if not np.all(np.isfinite(volume)):
        raise DataError(f"{path} would hold values that are not finite; please report this")
    save_volume(volume, affine, path)


def _stored(key: str, data: Any, field_strength_t: float) -> Any:
    """Convert to the units of the file: fields are ppm in the workflow and Hz on disk."""
    if isinstance(data, Mapping):
        return data
    array = np.asarray(data)
    return ppm_to_hz(array, field_strength_t) if OUTPUTS[key].units == "Hz" else array
