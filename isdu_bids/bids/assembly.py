"""From the files of one scan to a checked `Acquisition`, or one clear line on what is wrong.

Only names, sidecars and image headers are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from reprlib import repr as brief
from typing import Any

import numpy as np

from isdu_bids import images, units
from isdu_bids.bids.acquisition import Acquisition, Metadata
from isdu_bids.bids.contradictions import (
    check_folder,
    check_part,
    check_timing,
    check_voxel_size,
    oddities,
)
from isdu_bids.bids.names import parse_name
from isdu_bids.bids.sidecar import inherited_metadata
from isdu_bids.echoes import check_echo_times
from isdu_bids.errors import DataError

#: Vendors round B0 (Siemens "3 T" is 2.89 T); a larger difference means a wrong sidecar.
FIELD_STRENGTH_TOLERANCE = 0.06

Files = tuple[Path, ...]
Sidecars = Mapping[Path, Mapping[str, Any]]


def assemble(
    files: Sequence[Path],
    bids_dir: Path,
    mask_file: Path | None = None,
    dseg_file: Path | None = None,
) -> Acquisition:
    """Check the images of one scan and put them in order.

    Parameters
    ----------
    files
        All parts and echoes of the scan.
    bids_dir
        Root of the dataset, where inheritance of metadata starts.
    mask_file, dseg_file
        The user's mask and segmentation, which must lie on the grid of the scan.

    Raises
    ------
    DataError
        If phase, an echo or a field of the sidecars is missing or cannot be right, or if the
        images do not share one grid.
    """
    for path in files:
        if not path.is_file():  # a link to nowhere; a pipe, which would never end
            raise DataError(f"{path} is no file; copy or download it again")
        check_folder(path, bids_dir)
    phase, magnitude, parts = _paired_parts(files)
    sidecars = {path: inherited_metadata(path, bids_dir) for path in phase + magnitude}
    images.check_same_grid([*phase, *magnitude, *filter(None, [mask_file, dseg_file])])
    echo_times_s = _echo_times_s(phase, sidecars)
    _check_companions(phase, magnitude, sidecars)
    check_voxel_size(phase[0])
    check_timing(phase[0], sidecars[phase[0]], echo_times_s)
    check_part(phase, magnitude, sidecars, is_phase="phase" in parts)

    entities, suffix, _ = parse_name(phase[0])
    manufacturer = _agreed("Manufacturer", sidecars)
    phase_units = "rad"  # what the angle of real and imaginary part comes in
    if "phase" in parts:
        phase_units = _agreed("Units", {path: sidecars[path] for path in phase})
    return Acquisition(
        subject=entities["sub"],
        session=entities.get("ses"),
        acquisition=entities.get("acq"),
        reconstruction=entities.get("rec"),
        run=entities.get("run"),
        suffix=suffix,
        datatype=phase[0].parent.name,
        magnitude_files=parts.get("mag", ()),
        phase_files=parts.get("phase", ()),
        real_files=parts.get("real", ()),
        imag_files=parts.get("imag", ()),
        echo_times_s=echo_times_s,
        field_strength_t=_field_strength_t(sidecars),
        phase_units=None if phase_units is None else str(phase_units),
        manufacturer=None if manufacturer is None else str(manufacturer),
        mask_file=mask_file,
        dseg_file=dseg_file,
        flags=oddities(phase[0], sidecars[phase[0]], echo_times_s),
        metadata=_constants(sidecars.values()),
    )


def _paired_parts(files: Sequence[Path]) -> tuple[Files, Files, dict[str, Files]]:
    """Return phase (or real) files, magnitude (or imaginary) partners, and both by part."""
    by_part: dict[str, dict[int | None, Path]] = {}
    for path in sorted(files):
        entities, _, _ = parse_name(path)
        echoes = by_part.setdefault(entities.get("part", "mag"), {})
        echo = int(entities["echo"]) if entities.get("echo", "").isdigit() else None
        if echo in echoes:
            raise DataError(
                f"{echoes[echo]} and {path} are the same echo of one scan; remove one, or tell "
                "them apart by acq-, rec- or run- or by a BIDS filter file"
            )
        echoes[echo] = path

    first, second = ("phase", "mag") if "phase" in by_part else ("real", "imag")
    if first not in by_part and second not in by_part:
        raise DataError(
            f"{min(files)} has no phase; add the part-phase (or part-real and part-imag) images of "
            "this scan, or leave it out by a BIDS filter file"
        )
    a, b = by_part.get(first, {}), by_part.get(second, {})
    for echo in a.keys() ^ b.keys():
        path, missing = (a[echo], second) if echo in a else (b[echo], first)
        raise DataError(
            f"{path} has no part-{missing} partner; add the missing image, since an echo is never "
            "dropped silently"
        )
    numbers = sorted(echo for echo in a if echo is not None)
    if numbers and (None in a or numbers != list(range(1, len(numbers) + 1))):
        raise DataError(
            f"{a[numbers[0]]}: the echoes of this scan are numbered {numbers}; add what is missing "
            "or number them 1, 2, 3, ..."
        )
    keys: list[int] | list[None] = numbers or [None]
    parts = {first: tuple(a[key] for key in keys), second: tuple(b[key] for key in keys)}
    return parts[first], parts[second], parts


def _echo_times_s(paths: Files, sidecars: Sidecars) -> tuple[float, ...]:
    """One echo time per volume, in increasing order."""
    echo_times_s: list[float] = []
    for path in paths:
        if "EchoTime" not in sidecars[path]:
            raise DataError(f"{path}: EchoTime is missing; add it, in seconds, to the JSON sidecar")
        here = _numbers("EchoTime", sidecars[path]["EchoTime"], path)
        if len(here) != (volumes := images.n_volumes(path)):
            raise DataError(
                f"{path} holds {volumes} volume(s) but its EchoTime {len(here)} value(s); give one "
                "echo time per volume (and combine the coils of uncombined images first)"
            )
        echo_times_s += here
        try:
            check_echo_times(echo_times_s)
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
    return tuple(echo_times_s)


def _check_companions(paths: Files, partners: Files, sidecars: Sidecars) -> None:
    """Compare partners: both parts of an echo must have as many volumes and the same echo time."""
    for path, partner in zip(paths, partners, strict=True):
        if images.n_volumes(path) != images.n_volumes(partner):
            raise DataError(
                f"{path} and {partner} hold different numbers of volumes; add the missing ones"
            )
        _agreed("EchoTime", {file: sidecars[file] for file in (path, partner)})


def _field_strength_t(sidecars: Sidecars) -> float:
    """B0 in tesla; the imaging frequency is exact where the nominal strength is rounded."""
    path = next(iter(sidecars))
    nominal = _agreed("MagneticFieldStrength", sidecars)
    frequency = _agreed("ImagingFrequency", sidecars)
    if nominal is None and frequency is None:
        raise DataError(
            f"{path}: MagneticFieldStrength is missing; add it, in tesla, to the JSON sidecar"
        )
    strengths_t = []
    if frequency is not None:
        frequency_mhz = _number("ImagingFrequency", frequency, path)
        strengths_t.append(units.field_strength_from_frequency(frequency_mhz))
    if nominal is not None:
        strengths_t.append(_number("MagneticFieldStrength", nominal, path))
    try:
        for strength in strengths_t:
            units.hz_per_ppm(strength)
    except DataError as error:
        raise DataError(f"{path}: {error} (ImagingFrequency: {frequency} MHz)") from error
    exact, rounded = strengths_t[0], strengths_t[-1]
    if abs(exact - rounded) > FIELD_STRENGTH_TOLERANCE * rounded:
        raise DataError(
            f"{path}: ImagingFrequency {frequency} MHz means {exact:.3g} T for protons, but "
            f"MagneticFieldStrength is {rounded:g} T; correct one of them"
        )
    return exact


def _agreed(key: str, sidecars: Sidecars) -> Any:
    """Return the value of a field that all files which have it must share, or None."""
    having = [(path, sidecar[key]) for path, sidecar in sidecars.items() if key in sidecar]
    for path, value in having[1:]:
        if not _same(value, having[0][1]):
            raise DataError(
                f"{key} is {brief(having[0][1])} for {having[0][0]} but "
                f"{brief(value)} for {path}; "
                "correct the JSON sidecars"
            )
    return having[0][1] if having else None


def _same(a: Any, b: Any) -> bool:
    try:
        return bool(np.allclose(a, b, rtol=1e-4, atol=0))
    except (TypeError, ValueError, OverflowError):
        return bool(a == b)


def _numbers(key: str, value: Any, path: Path) -> list[float]:
    values = value if isinstance(value, list) else [value]
    try:
        numbers = [float(v) for v in values if type(v) in (int, float)]
    except OverflowError:  # hundreds of digits
        numbers = []
    if not values or len(numbers) < len(values) or not np.isfinite(numbers).all():
        raise DataError(f"{path}: {key} is {brief(value)}; give a number in the JSON sidecar")
    return numbers


def _number(key: str, value: Any, path: Path) -> float:
    first, *others = _numbers(key, value, path)
    if any(other != first for other in others):
        raise DataError(f"{path}: {key} is {value}; give one number in the JSON sidecar")
    return first


def _constants(sidecars: Iterable[Mapping[str, Any]]) -> Metadata:
    first, *others = sidecars
    return Metadata(
        {k: v for k, v in first.items() if all(k in other and other[k] == v for other in others)}
    )
