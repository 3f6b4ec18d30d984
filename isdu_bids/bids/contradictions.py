"""Metadata of a scan that contradict its file names, its affine or each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import cos, radians
from pathlib import Path
from typing import Any

import numpy as np

from isdu_bids.bids.names import parse_name
from isdu_bids.errors import DataError
from isdu_bids.geometry import b0_direction, unit_vector, voxel_size_mm
from isdu_bids.images import read_grid

#: Voxels of people and animals (mm); others come from an affine in other units.
_VOXEL_MM = (0.01, 20.0)
#: Angle between the direction of B0 of the affine and of a sidecar that rounding explains.
_B0_TOLERANCE_DEG = 0.5
#: No scanner reads two echoes of one excitation in less.
_SHORTEST_SPACING_S = 0.0005

_PHASE_TYPES = {"P", "PHASE", "PHASE MAP"}
_MAGNITUDE_TYPES = {"M", "MAGNITUDE"}


def check_folder(path: Path, bids_dir: Path) -> None:
    """Refuse an image in the folder of another subject or session.

    Raises
    ------
    DataError
        With both.
    """
    entities, _, _ = parse_name(path)
    folders = path.relative_to(bids_dir).parts[:-1]
    for key in ("sub", "ses"):
        found = [folder for folder in folders if folder.startswith(f"{key}-")]
        named = [f"{key}-{entities[key]}"] if key in entities else []
        if found != named:
            raise DataError(
                f"{path} lies in the folder of {found[0] if found else 'no session'} but its name "
                f"says {named[0] if named else 'no session'}; move or rename it"
            )


def check_part(
    phase: Sequence[Path],
    magnitude: Sequence[Path],
    sidecars: Mapping[Path, Mapping[str, Any]],
    *,
    is_phase: bool,
) -> None:
    """Refuse a phase whose ``ImageType`` says magnitude, and the reverse.

    Raises
    ------
    DataError
        With the file.
    """
    if not is_phase:  # real and imaginary part
        return
    for part, paths, own, other in (
        ("phase", phase, _PHASE_TYPES, _MAGNITUDE_TYPES),
        ("mag", magnitude, _MAGNITUDE_TYPES, _PHASE_TYPES),
    ):
        for path in paths:
            stated = sidecars[path].get("ImageType")
            types = {str(word).upper() for word in stated} if isinstance(stated, list) else set()
            if types & other and not types & own:
                raise DataError(
                    f"{path}: ImageType is {sorted(types)}, which does not fit part-{part}; "
                    "exchange or rename the part-mag and part-phase files"
                )


def check_timing(path: Path, sidecar: Mapping[str, Any], echo_times_s: Sequence[float]) -> None:
    """Refuse an echo after the repetition time.

    Raises
    ------
    DataError
        With both times.
    """
    repetition_s = sidecar.get("RepetitionTime")
    if isinstance(repetition_s, int | float) and 0 < repetition_s <= echo_times_s[-1]:
        raise DataError(
            f"{path}: EchoTime {echo_times_s[-1]:g} s is not before RepetitionTime "
            f"{repetition_s:g} s; correct one of them (both in seconds)"
        )


def check_voxel_size(path: Path) -> None:
    """Refuse an affine that cannot be in millimetres.

    Raises
    ------
    DataError
        With the voxel size.
    """
    sizes = voxel_size_mm(read_grid(path)[1])
    if min(sizes) < _VOXEL_MM[0] or max(sizes) > _VOXEL_MM[1]:
        shown = " x ".join(f"{size:g}" for size in sizes)
        raise DataError(f"{path}: voxels of {shown} mm; write an affine in mm into the header")


def oddities(
    path: Path, sidecar: Mapping[str, Any], echo_times_s: Sequence[float]
) -> tuple[str, ...]:
    """Short names of what is odd about the metadata of a scan, but leaves it usable."""
    found = {
        "b0_dir_ignored": "B0_dir" in sidecar and not _is_b0(sidecar["B0_dir"], path),
        "echo_spacing_short": len(echo_times_s) > 1
        and float(np.diff(echo_times_s).min()) < _SHORTEST_SPACING_S,
    }
    return tuple(flag for flag, holds in found.items() if holds)


def _is_b0(value: Any, path: Path) -> bool:
    """Whether a field of a sidecar, which is none of BIDS, repeats what the affine says."""
    try:
        stated = unit_vector(value)
    except (DataError, TypeError, ValueError, OverflowError):
        return False
    cosine = float(np.dot(stated, b0_direction(read_grid(path)[1])))
    return cosine > cos(radians(_B0_TOLERANCE_DEG))
