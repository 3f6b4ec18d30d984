"""Whether the magnitude of a scan is one: its values, and their decay with echo time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from isdu_bids.errors import DataError
from isdu_bids.phase.wrapping import BoolArray, FloatArray

#: Part of the bright voxels' magnitude that a voxel of the head exceeds.
_HEAD = 0.25
#: No tissue is ten times brighter than the brightest percent of all voxels.
_SPIKE, _BRIGHT_PERCENTILE = 10.0, 99.0
#: The square of larger numbers is no number of single precision.
_OVERFLOW = 1e15
#: Share of negative voxels that resampling of a magnitude explains.
_NEGATIVE = 0.01
#: By how much the median magnitude may grow from echo to echo: noise, and fat that comes in phase.
_GROWTH = 1.1
#: Median decay of a head (1/s) that echo times in seconds give at 0.3 to 10 T. Medians are 20 to 30
#: at 3 T, and 75 where the first echoes lie between water and fat.
_DECAY_PER_S = (3.0, 150.0)
_SATURATED = 1e-3
#: Sound heads are 0.01 to 0.03 off an exponential decay, by one number of natural logarithm; 0.1 to
#: 1 where an echo has noise, moved, or is of another scan.
_DISAGREE = 0.1


def head_of(magnitude: FloatArray) -> BoolArray:
    """Voxels with signal in the first echo; shape ``(x, y, z)`` of ``(echo, x, y, z)``."""
    first = magnitude[0]
    bright = np.percentile(first[first > 0], 95) if (first > 0).any() else 0.0
    return np.asarray((magnitude > 0).all(axis=0) & (first > _HEAD * bright))


def seen_in_most(magnitude: FloatArray) -> BoolArray:
    """Voxels of the head in most echoes, which those of one damaged echo belong to as well."""
    typical = np.median(magnitude, axis=0)
    return head_of(typical[None])


def clean_magnitude(
    magnitude: FloatArray, names: Sequence[str]
) -> tuple[FloatArray, tuple[str, ...]]:
    """Refuse what is no magnitude; put 0 for what is not finite, and calm single spikes.

    Parameters
    ----------
    magnitude
        As the files hold it, shape ``(echo, x, y, z)``.
    names
        Of the files, one per echo, for messages.

    Returns
    -------
    magnitude, flags
        A spike becomes the median of its neighbours.

    Raises
    ------
    DataError
        If an echo is constant or negative.
    """
    finite = np.abs(magnitude) < _OVERFLOW  # false for NaN
    flags = [] if finite.all() else ["magnitude_not_finite"]
    clean = np.where(finite, magnitude, 0)
    for echo, name in zip(clean, names, strict=True):
        signal = echo[echo != 0]
        if signal.size == 0 or signal.min() == signal.max():
            raise DataError(
                f"{name}: the magnitude is constant where it is not 0; convert the scan again"
            )
        if (echo < 0).mean() > _NEGATIVE:
            raise DataError(
                f"{name}: the magnitude has negative values, to {echo.min():.4g}; if part-mag and "
                "part-phase are exchanged, rename the files"
            )
        limit = _SPIKE * np.percentile(signal, _BRIGHT_PERCENTILE)
        for voxel in np.argwhere(np.abs(echo) > limit):
            around = echo[tuple(slice(max(0, i - 1), i + 2) for i in voxel)]
            echo[tuple(voxel)] = np.median(np.clip(around, 0, limit))
            flags.append("magnitude_spikes")
    return clean, tuple(dict.fromkeys(flags))


def check_decay(
    magnitude: FloatArray, echo_times_s: Sequence[float], head: BoolArray, names: Sequence[str]
) -> tuple[str, ...]:
    """Flag a decay that no head has; refuse echoes that are brighter than earlier ones.

    Raises
    ------
    DataError
        If two echoes are equal, or the magnitude grows.
    """
    if len(magnitude) < 2 or not head.any():
        return ()
    level = np.array([np.median(echo[head]) for echo in magnitude])
    for k in range(1, len(level)):
        if np.array_equal(magnitude[k][head], magnitude[k - 1][head]):
            raise DataError(
                f"{names[k]} holds the same magnitude as {names[k - 1]}; copy or convert this echo "
                "again"
            )
        if level[k] > _GROWTH * level[k - 1]:
            raise DataError(
                f"{names[k]} is {level[k] / level[k - 1]:.2g} times as bright as the earlier "
                f"{names[k - 1]}; check the order of the echoes and their EchoTime"
            )
    rate_per_s = -np.polyfit(echo_times_s, np.log(level), 1)[0]
    low, high = _DECAY_PER_S
    found = {
        "decay_too_fast": rate_per_s > high,
        "decay_too_slow": rate_per_s < low,
        "magnitude_saturated": any(_saturated(echo[head]) for echo in magnitude),
        "magnitudes_disagree": _off_decay(magnitude, echo_times_s) > _DISAGREE,
    }
    return tuple(flag for flag, holds in found.items() if holds)


def _saturated(signal: FloatArray) -> bool:
    """Whether one voxel in a thousand has the largest value."""
    return bool((signal == signal.max()).mean() > _SATURATED)


def _off_decay(magnitude: FloatArray, echo_times_s: Sequence[float]) -> float:
    """By how much one voxel in ten of the head is off the exponential that fits it (natural log).

    Two echoes are never off.
    """
    signal = magnitude[:, seen_in_most(magnitude)]
    if signal.size == 0:
        return 0.0
    logs = np.log(np.maximum(signal, 1e-3 * np.median(signal)))
    design = np.stack([np.ones(len(logs)), echo_times_s], axis=1)
    rest = logs - design @ (np.linalg.pinv(design) @ logs)
    return float(np.percentile(np.abs(rest), 90))
