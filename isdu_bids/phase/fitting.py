"""Unwrapped phases of all echoes to one field, with its standard deviation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from isdu_bids.echoes import MIN_OFFSET_ECHOES, need_echoes
from isdu_bids.phase.wrapping import BoolArray, FloatArray

#: Weight of an echo in the mean of P/TE, from its magnitude and time.
Weight = Callable[[FloatArray, FloatArray], FloatArray]


@dataclass(frozen=True)
class FieldFit:
    """Field of one scan.

    Attributes
    ----------
    field_hz
        Frequency shift, shape ``(x, y, z)``, Hz.
    field_sd_hz
        Its standard deviation, Hz: propagated noise, and more where the echoes disagree.
    residual_rad
        Weighted root mean square of what the field leaves of the phases, rad.
    """

    field_hz: FloatArray
    field_sd_hz: FloatArray
    residual_rad: FloatArray


def weighted_mean(
    unwrapped_rad: FloatArray,
    magnitude: FloatArray,
    echo_times_s: Sequence[float],
    mask: BoolArray,
    *,
    weight: Weight,
) -> FieldFit:
    """``f = sum(w * P / TE) / sum(w) / 2*pi``."""
    times = _times(echo_times_s)
    weights = weight(magnitude, times)
    total = _nonzero(weights.sum(axis=0))
    slope = (weights * unwrapped_rad / times).sum(axis=0) / total
    spread = np.sqrt(((weights / (times * _nonzero(magnitude))) ** 2).sum(axis=0)) / total
    return _fit(
        unwrapped_rad,
        unwrapped_rad - slope * times,
        slope,
        spread,
        magnitude,
        times,
        mask,
        n_parameters=1,
    )


phase_snr_mean = partial(weighted_mean, weight=lambda m, t: m * t)
phase_var_mean = partial(weighted_mean, weight=lambda m, t: m**2 * t**2)
average_mean = partial(weighted_mean, weight=lambda m, _: np.ones_like(m))
echo_time_mean = partial(weighted_mean, weight=lambda m, t: t * np.ones_like(m))
magnitude_mean = partial(weighted_mean, weight=lambda m, _: m)


def line(
    unwrapped_rad: FloatArray, magnitude: FloatArray, echo_times_s: Sequence[float], mask: BoolArray
) -> FieldFit:
    """Weighted line ``P = a + 2*pi*f*TE``, weights M^2."""
    _need_offset_echoes(unwrapped_rad)
    times = _times(echo_times_s)
    lines = _Lines(magnitude**2, times)
    intercept, slope = lines.fit(unwrapped_rad)
    residual = unwrapped_rad - intercept - slope * times
    return _fit(
        unwrapped_rad, residual, slope, lines.spread, magnitude, times, mask, n_parameters=2
    )


def complex_exponential(
    unwrapped_rad: FloatArray,
    magnitude: FloatArray,
    echo_times_s: Sequence[float],
    mask: BoolArray,
    *,
    iterations: int,
) -> FieldFit:
    """Least squares of the complex signal, ``min sum |M e^{iP} - M e^{i(a + 2*pi*f*TE)}|^2``.

    Gauss-Newton: each step is the weighted line through ``sin(residual)``, so a wrong turn in one
    echo does no harm.
    """
    _need_offset_echoes(unwrapped_rad)
    times = _times(echo_times_s)
    lines = _Lines(magnitude**2, times)
    intercept, slope = lines.fit(unwrapped_rad)
    for _ in range(iterations):
        more_intercept, more_slope = lines.fit(np.sin(unwrapped_rad - intercept - slope * times))
        intercept, slope = intercept + more_intercept, slope + more_slope
    residual = np.sin(unwrapped_rad - intercept - slope * times)
    return _fit(
        unwrapped_rad, residual, slope, lines.spread, magnitude, times, mask, n_parameters=2
    )


class _Lines:
    """Weighted straight lines over echo time, voxel by voxel."""

    def __init__(self, weight: FloatArray, times: FloatArray) -> None:
        self.weight = weight
        self.total = _nonzero(weight.sum(axis=0))
        self.mean_time = (weight * times).sum(axis=0) / self.total
        self.centred = times - self.mean_time
        self.moment = _nonzero((weight * self.centred**2).sum(axis=0))
        self.spread = (1 / np.sqrt(self.moment)).astype(np.float32)

    def fit(self, values: FloatArray) -> tuple[FloatArray, FloatArray]:
        slope = (self.weight * self.centred * values).sum(axis=0) / self.moment
        mean = (self.weight * values).sum(axis=0) / self.total
        return mean - slope * self.mean_time, slope


def _fit(
    unwrapped: FloatArray,
    residual: FloatArray,
    slope: FloatArray,
    spread: FloatArray,
    magnitude: FloatArray,
    times: FloatArray,
    mask: BoolArray,
    *,
    n_parameters: int,
) -> FieldFit:
    """Collect a fit; ``spread`` is the standard deviation of the slope for unit noise.

    The noise of the signal comes from the residuals of the whole mask (their median is robust
    against vessels), and a voxel whose own residuals are larger than that is trusted less; at worst
    its phase is uniform noise, of standard deviation pi / sqrt(3) at the first echo.
    """
    n_free = len(residual) - n_parameters
    energy = ((magnitude * residual) ** 2).sum(axis=0)
    if n_free > 0:
        variance = energy / n_free
        # Wilson-Hilferty: median of chi-squared over its degrees of freedom.
        median_of_chi2 = (1 - 2 / (9 * n_free)) ** 3
        noise = np.sqrt(np.median(variance[mask]) / median_of_chi2) if mask.any() else 0.0
        deviation = spread * np.sqrt(np.maximum(variance, np.float32(noise**2)))
    else:
        deviation = spread * noise_sd(magnitude[-1] * np.exp(1j * unwrapped[-1]), mask)
    power = (magnitude**2).sum(axis=0)
    worst = np.pi / np.sqrt(3) / float(times.flat[0])
    deviation = np.minimum(np.where(power > 0, deviation, worst), worst)
    rms = np.sqrt(energy / _nonzero(power))
    volumes = (slope / (2 * np.pi), deviation / (2 * np.pi), rms)
    return FieldFit(*(np.where(mask, volume, 0).astype(np.float32) for volume in volumes))


def noise_sd(signal: npt.NDArray[np.complexfloating], mask: BoolArray) -> float:
    """Noise per channel of one complex image, from its finest diagonal texture.

    The mixed difference over all three axes, scaled to keep the variance of white noise, removes
    anatomy; 0.6745 is the median absolute value of a normal variable.

    References
    ----------
    Donoho & Johnstone 1994, doi:10.1093/biomet/81.3.425.
    """
    texture, inside = signal, mask
    for axis in range(3):
        if signal.shape[axis] > 1:
            texture = np.diff(texture, axis=axis) / np.sqrt(2)
            inside = np.delete(inside, -1, axis) & np.delete(inside, 0, axis)
    if not inside.any():
        return 0.0
    parts = np.concatenate([texture.real[inside], texture.imag[inside]])
    return float(np.median(np.abs(parts)) / 0.6745)


def _times(echo_times_s: Sequence[float]) -> FloatArray:
    return np.asarray(echo_times_s, np.float32)[:, None, None, None]


def _nonzero(denominator: FloatArray) -> FloatArray:
    return np.where(denominator > 0, denominator, np.float32(1))


def _need_offset_echoes(unwrapped_rad: FloatArray) -> None:
    need_echoes(len(unwrapped_rad), MIN_OFFSET_ECHOES, "a fit of offset and field", "use phase_snr")
