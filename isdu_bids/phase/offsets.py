"""Phase at echo time zero: found from echo differences, smoothed, and removed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from isdu_bids.echoes import MIN_BIPOLAR_ECHOES, MIN_OFFSET_ECHOES, need_echoes
from isdu_bids.errors import DataError
from isdu_bids.phase.romeo import unwrap_romeo
from isdu_bids.phase.wrapping import BoolArray, FloatArray, wrap


def offset_method(echo_times_s: Sequence[float]) -> str:
    """Name of the method that *auto* takes."""
    return "monopolar" if len(echo_times_s) > 1 else "none"


def alternating_offset(
    phase_rad: FloatArray,
    magnitude: FloatArray | None,
    echo_times_s: Sequence[float],
    mask: BoolArray,
    voxel_size_mm: Sequence[float],
    *,
    smoothing_mm: float,
) -> FloatArray:
    """Sum of `phase_offset` and the `bipolar_offset` that it leaves, for each echo."""
    rest = (magnitude, echo_times_s, mask, voxel_size_mm)
    offset = phase_offset(phase_rad, *rest, smoothing_mm=smoothing_mm)
    left = wrap(phase_rad - offset)
    return offset + bipolar_offset(left, *rest, smoothing_mm=smoothing_mm)


def phase_offset(
    phase_rad: FloatArray,
    magnitude: FloatArray | None,
    echo_times_s: Sequence[float],
    mask: BoolArray,
    voxel_size_mm: Sequence[float],
    *,
    smoothing_mm: float,
) -> FloatArray:
    """Phase offset by MCPC-3D-S, from the first two echoes.

    ``offset = smooth(P1 - TE1 / (TE2 - TE1) * unwrap(P2 - P1))``

    Parameters
    ----------
    phase_rad
        Wrapped phase, shape ``(echo, x, y, z)``.
    magnitude
        Same shape, or None.
    echo_times_s
        Echo times in seconds.
    mask
        Voxels that contribute; the smoothed offset extends beyond them.
    voxel_size_mm
        Edge lengths of a voxel in mm.
    smoothing_mm
        Standard deviation of the Gaussian.

    Returns
    -------
    ndarray
        Offset in [-pi, pi], shape ``(x, y, z)``.

    References
    ----------
    Eckstein et al. 2018, doi:10.1002/mrm.26963.
    """
    need_echoes(len(phase_rad), MIN_OFFSET_ECHOES, "removal of the phase offset", "switch it off")
    weight = np.ones_like(phase_rad) if magnitude is None else magnitude
    product = weight[0] * weight[1] * np.exp(1j * (phase_rad[1] - phase_rad[0]))
    growth = unwrap_romeo(
        np.angle(product)[None].astype(np.float32),
        magnitude=np.sqrt(np.abs(product))[None].astype(np.float32),
        mask=mask,
        echo_times_s=(echo_times_s[1] - echo_times_s[0],),
        multi_echo="individual",
    )[0]
    evolution = growth * np.float32(echo_times_s[0] / (echo_times_s[1] - echo_times_s[0]))
    return _smooth(phase_rad[0] - evolution, mask * np.abs(product), voxel_size_mm, smoothing_mm)


def bipolar_offset(
    phase_rad: FloatArray,
    magnitude: FloatArray | None,
    echo_times_s: Sequence[float],
    mask: BoolArray,
    voxel_size_mm: Sequence[float],
    *,
    smoothing_mm: float,
) -> FloatArray:
    r"""Phase that alternates with the readout direction, for the echoes after MCPC-3D-S.

    For ``P_e = offset + a * TE_e + s_e * G`` with alternating sign ``s_e``, offset removal by the
    first two echoes leaves multiples of G, which three echoes determine: with
    ``m = TE1 / (TE2 - TE1)``, ``k = (TE1 + TE3) / TE2`` and ``f = (2 - k) m - k``,
    ``G' = unwrap(smooth(P1 + P3 - k P2)) / f``; odd echoes carry ``m G'``, even ones
    ``(m + 1) G'``.

    Parameters
    ----------
    phase_rad
        Wrapped phase after :func:`phase_offset` has been removed, at least three echoes.
    magnitude, echo_times_s, mask, voxel_size_mm, smoothing_mm
        As in :func:`phase_offset`.

    Returns
    -------
    ndarray
        What to subtract, shape ``(echo, x, y, z)``, rad.

    Raises
    ------
    DataError
        With fewer than three echoes, or where the echo times leave G undetermined.

    References
    ----------
    Eckstein 2021, doi:10.34726/hss.2021.43447, p. 53.
    """
    need_echoes(
        len(phase_rad), MIN_BIPOLAR_ECHOES, "the bipolar correction", "use monopolar or none"
    )
    te1, te2, te3 = echo_times_s[:3]
    m, k = te1 / (te2 - te1), (te1 + te3) / te2
    f = (2 - k) * m - k
    if abs(f) < 1e-6:
        raise DataError(f"EchoTime {te1}, {te2}, {te3} s leave the bipolar phase undetermined")
    second = phase_rad[1]
    if abs(k - round(k)) > 1e-3:
        # Wraps of the second echo enter as 2*pi*k, which is harmless for a whole k only.
        second = _unwrap(second, magnitude, mask, te2)
    weight = mask * (1 if magnitude is None else np.abs(magnitude[:3]).prod(axis=0))
    smooth = _smooth(phase_rad[0] + phase_rad[2] - k * second, weight, voxel_size_mm, smoothing_mm)
    alternating = _unwrap(smooth, magnitude, mask, te1) / f
    factors = np.where(np.arange(len(phase_rad)) % 2 == 0, m, m + 1).astype(np.float32)
    return factors[:, None, None, None] * alternating.astype(np.float32)


def _unwrap(
    phase: FloatArray,
    magnitude: FloatArray | None,
    mask: BoolArray,
    echo_time_s: float,
) -> FloatArray:
    return unwrap_romeo(
        phase[None],
        magnitude=None if magnitude is None else magnitude[1:2],
        mask=mask,
        echo_times_s=(echo_time_s,),
        multi_echo="individual",
    )[0]


def _smooth(
    phase_rad: FloatArray,
    weight: npt.NDArray[np.floating],
    voxel_size_mm: Sequence[float],
    sigma_mm: float,
) -> FloatArray:
    """Gaussian mean of ``weight * exp(i * phase)``, its angle.

    One pass flattens curvature, and slopes at the rim of the weights, by a tenth of a radian and
    more. So the smooth part of what is left is added twice more (Tukey's twicing), which keeps
    slow changes and still averages noise.
    """
    sigma = [sigma_mm / size for size in voxel_size_mm]
    smooth = np.zeros_like(phase_rad)
    for _ in range(3):
        rest = phase_rad - smooth
        real, imaginary = (
            ndimage.gaussian_filter((weight * part(rest)).astype(np.float32), sigma, truncate=3)
            for part in (np.cos, np.sin)
        )
        smooth = wrap(smooth + np.arctan2(imaginary, real))
    return smooth
