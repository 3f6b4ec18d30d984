"""The only place where units convert.

Sign convention of the whole package: ``phase = +2*pi * gamma * B0 * TE * field``, where *field* is
the relative change of the magnetic field. Paramagnetic tissue (globus pallidus) is positive.
Inside the package fields are in ppm of B0; files on disk follow BIDS (field maps in Hz).
"""

from __future__ import annotations

from math import pi
from typing import Any, TypeVar, cast

from isdu_bids.errors import DataError, UsageError

Array = TypeVar("Array")

#: Units in which a field may be given.
FIELD_UNITS = ("ppm", "hz", "rad")

#: Proton gyromagnetic ratio in water over 2*pi (CODATA 2018, shielded proton), Hz per tesla.
GYROMAGNETIC_RATIO_HZ_PER_T = 42.57638543e6


def hz_per_ppm(field_strength_t: float) -> float:
    """Frequency shift (Hz) of one part per million of B0.

    Examples
    --------
    >>> round(hz_per_ppm(3.0), 3)
    127.729
    """
    if not 0.01 <= field_strength_t <= 25:
        raise DataError(
            f"MagneticFieldStrength is {field_strength_t} T; give tesla, between 0.01 and 25"
        )
    return GYROMAGNETIC_RATIO_HZ_PER_T * 1e-6 * field_strength_t


def hz_to_ppm(field_hz: Array, field_strength_t: float) -> Array:
    """Convert a field from Hz to ppm of B0."""
    return cast(Array, cast(Any, field_hz) / hz_per_ppm(field_strength_t))


def ppm_to_hz(field_ppm: Array, field_strength_t: float) -> Array:
    """Convert a field from ppm of B0 to Hz."""
    return cast(Array, cast(Any, field_ppm) * hz_per_ppm(field_strength_t))


def rad_per_ppm(field_strength_t: float, echo_time_s: float) -> float:
    """Phase (rad) that one ppm of B0 builds up until the echo time."""
    return 2 * pi * hz_per_ppm(field_strength_t) * echo_time_s


def units_per_ppm(
    unit: str, field_strength_t: float | None = None, echo_time_s: float | None = None
) -> float:
    """Value, in one of `FIELD_UNITS`, of a field of one ppm.

    Raises
    ------
    UsageError
        For an unknown unit, or one whose scale is not given.

    Examples
    --------
    >>> round(units_per_ppm("hz", 3.0), 3)
    127.729
    """
    if unit not in FIELD_UNITS:
        raise UsageError(f"unit {unit!r} is unknown; known are {', '.join(FIELD_UNITS)}")
    if unit == "ppm":
        return 1.0
    if field_strength_t is None:
        raise UsageError(f"a field in {unit} needs the field strength in tesla")
    if unit == "hz":
        return hz_per_ppm(field_strength_t)
    if echo_time_s is None:
        raise UsageError("a field in rad needs the echo time in seconds")
    return rad_per_ppm(field_strength_t, echo_time_s)


def field_strength_from_frequency(imaging_frequency_mhz: float) -> float:
    """Field strength (T) from the proton imaging frequency in MHz.

    Examples
    --------
    >>> round(field_strength_from_frequency(127.748512), 2)
    3.0
    """
    return imaging_frequency_mhz * 1e6 / GYROMAGNETIC_RATIO_HZ_PER_T
