"""Wrapped phase: the principal value, whole turns, and turns shared by all echoes of a scan."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

TWO_PI = np.float32(2 * np.pi)


def wrap(phase_rad: npt.ArrayLike) -> FloatArray:
    """Principal value in [-pi, pi]: ``p - 2*pi * round(p / 2*pi)``; values inside stay bit-exact.

    Examples
    --------
    >>> wrap([0.0, 4.0]).round(3).tolist()
    [0.0, -2.2829999923706055]
    """
    phase = np.asarray(phase_rad, dtype=np.float32)
    turns = np.rint(phase / TWO_PI)
    return np.where(np.abs(phase) <= np.float32(np.pi), phase, phase - TWO_PI * turns)


def congruent(phase_rad: FloatArray, reference_rad: FloatArray) -> FloatArray:
    """Add whole turns to ``phase_rad`` so that it lies within pi of ``reference_rad``."""
    return phase_rad + TWO_PI * np.rint((reference_rad - phase_rad) / TWO_PI)


def align_echoes(
    unwrapped_rad: FloatArray, mask: BoolArray, echo_times_s: Sequence[float]
) -> FloatArray:
    """Settle the whole turns by which spatial unwrapping leaves each echo undetermined.

    The first echo's median comes within half a turn of zero (a shimmed field); every later echo is
    moved by the median number of turns that separate it from its prediction, the previous echo
    scaled by the ratio of echo times.

    Parameters
    ----------
    unwrapped_rad
        Unwrapped phase without offset, shape ``(echo, x, y, z)``, rad.
    mask
        Voxels that count, shape ``(x, y, z)``.
    echo_times_s
        Echo times in seconds.
    """
    aligned = unwrapped_rad.copy()
    prediction = np.zeros_like(aligned[0])
    for echo, echo_time in enumerate(echo_times_s):
        if echo > 0:
            prediction = aligned[echo - 1] * np.float32(echo_time / echo_times_s[echo - 1])
        gap_rad = (prediction - aligned[echo])[mask]
        if gap_rad.size:
            aligned[echo][mask] += TWO_PI * np.rint(np.median(gap_rad) / TWO_PI)
    return aligned
