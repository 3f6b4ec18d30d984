r"""R2*, T2* and S0 from the magnitudes, ``M = S0 * exp(-R2* * TE)``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from isdu_bids.echoes import MIN_DECAY_ECHOES, evenly_spaced, need_echoes
from isdu_bids.errors import DataError
from isdu_bids.phase.registry import RELAXATION
from isdu_bids.phase.wrapping import BoolArray, FloatArray
from isdu_bids.physics.decay import typical_r2star_per_s

#: Slowest and fastest decay reported (1/s): a T2* of ten seconds and of half a millisecond.
_R2STAR_RANGE = (0.1, 2000.0)
#: Median of a brain by that of healthy adults at its field strength: 0.94 to 1.02 in simulated
#: heads, and half or twice as much where echo times are wrong by a factor of two. Over short times
#: myelin water and fat decay faster.
_UNUSUAL, _SHORTEST_SPAN_S = (0.6, 1.7), 0.005


@dataclass(frozen=True)
class Relaxation:
    """Transverse relaxation, shape ``(x, y, z)``; 0 outside the mask and where the fit failed.

    Attributes
    ----------
    r2star_per_s, t2star_s
        Rate, and its inverse.
    s0
        Magnitude at echo time zero, in the units of the input.
    """

    r2star_per_s: FloatArray
    t2star_s: FloatArray
    s0: FloatArray


def fit_relaxation(
    magnitude: FloatArray,
    echo_times_s: Sequence[float],
    mask: BoolArray,
    method: str = str(RELAXATION.default),
) -> Relaxation:
    """Relaxation by name; *auto* is ``arlo`` for even echo spacing, else ``loglinear``.

    Parameters
    ----------
    magnitude
        Shape ``(echo, x, y, z)``, at least three echoes.
    echo_times_s
        Echo times in seconds.
    mask
        Voxels to fit.
    method
        A name in :data:`RELAXATION`, or *auto*, with parameters.

    Raises
    ------
    DataError
        With fewer than three echoes, or ``arlo`` on uneven spacing.
    """
    need_echoes(len(magnitude), MIN_DECAY_ECHOES, "R2*", "switch it off")
    signals = np.nan_to_num(magnitude[:, mask], posinf=0.0).astype(np.float32)
    times_s = np.asarray(echo_times_s, np.float32)[:, None]
    available = {"signals": signals, "times_s": times_s, "echo_times_s": echo_times_s}
    rate = RELAXATION.run(method, available)
    rate = np.clip(np.nan_to_num(rate), *_R2STAR_RANGE)
    fitted = rate > _R2STAR_RANGE[0]  # what does not decay was not fitted: 0, not T2* = 10 s
    decay = np.exp(-rate * times_s)
    s0 = (signals * decay).sum(axis=0) / (decay**2).sum(axis=0)
    return Relaxation(*(_placed(values * fitted, mask) for values in (rate, 1 / rate, s0)))


def decay_flags(
    r2star_per_s: FloatArray,
    mask: BoolArray,
    echo_times_s: Sequence[float],
    field_strength_t: float,
) -> tuple[str, ...]:
    """Flag ``decay_unusual`` where the median of a brain is not that of an adult at this field."""
    if not mask.any() or echo_times_s[-1] - echo_times_s[0] < _SHORTEST_SPAN_S:
        return ()
    low, high = _UNUSUAL
    ratio = float(np.median(r2star_per_s[mask])) / typical_r2star_per_s(field_strength_t)
    return () if low <= ratio <= high else ("decay_unusual",)


def relaxation_method(echo_times_s: Sequence[float]) -> str:
    """Name of the method that *auto* takes for these echo times."""
    return "arlo" if evenly_spaced(echo_times_s) else "loglinear"


def arlo(signals: FloatArray, times_s: FloatArray) -> FloatArray:
    r"""Auto-regression on linear operations: evenly spaced echoes, no logarithm, no iteration.

    Simpson's rule makes the integral over three echoes ``dTE/3 (M0 + 4 M1 + M2)``, which equals
    ``(M0 - M2) / R2*``; least squares over all triples in R2*, with the weights of the source.

    References
    ----------
    Pei et al. 2015, doi:10.1002/mrm.25137.
    """
    if not evenly_spaced(times_s.ravel().tolist()):
        raise DataError("ARLO needs evenly spaced echoes; use loglinear or nonlinear")
    spacing = times_s[1] - times_s[0]
    first, middle, last = signals[:-2], signals[1:-1], signals[2:]
    difference = first - last
    integral = spacing / 3 * (first + 4 * middle + last)
    numerator = (difference * (integral + spacing / 3 * difference)).sum(axis=0)
    denominator = (integral**2 + spacing / 3 * integral * difference).sum(axis=0)
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)


def loglinear(signals: FloatArray, times_s: FloatArray) -> FloatArray:
    """Line through ``log M``, weighted by M^2 (the inverse variance of the logarithm)."""
    weight = signals**2
    total = np.maximum(weight.sum(axis=0), np.finfo(np.float32).tiny)
    centred = times_s - (weight * times_s).sum(axis=0) / total
    logarithm = np.log(np.maximum(signals, np.finfo(np.float32).tiny))
    moment = (weight * centred**2).sum(axis=0)
    slope = (weight * centred * logarithm).sum(axis=0)
    return -np.divide(slope, moment, out=np.zeros_like(slope), where=moment > 0)


def nonlinear(signals: FloatArray, times_s: FloatArray, *, iterations: int) -> FloatArray:
    """Least squares of ``S0 exp(-R2* TE)``: Gauss-Newton from the log-linear fit, S0 eliminated.

    Steps are limited to half the present rate, which keeps every rate positive.
    """
    rate = np.clip(loglinear(signals, times_s), *_R2STAR_RANGE)
    for _ in range(iterations):
        decay = np.exp(-rate * times_s)
        norm = (decay**2).sum(axis=0)
        s0 = (signals * decay).sum(axis=0) / norm
        # Derivative by the rate, less its part along the decay itself (variable projection).
        slope = -times_s * decay
        slope = slope - decay * (slope * decay).sum(axis=0) / norm
        gradient = (slope * (signals - s0 * decay)).sum(axis=0)
        curvature = np.maximum(s0 * (slope**2).sum(axis=0), np.finfo(np.float32).tiny)
        step = np.clip(gradient / curvature, -rate / 2, rate / 2)
        rate = np.clip(rate + step, *_R2STAR_RANGE)
    return rate


def _placed(values: FloatArray, mask: BoolArray) -> FloatArray:
    volume = np.zeros(mask.shape, np.float32)
    volume[mask] = values
    return volume
