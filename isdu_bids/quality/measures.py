"""Numbers that tell whether a scan's map can be believed, in one flat dictionary."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from isdu_bids.geometry import Triple, obliquity_deg
from isdu_bids.quality.flags import Flag, flag_scan
from isdu_bids.quality.residual import dipole_residual_percent
from isdu_bids.quality.spectrum import streak_index

__all__ = ["Flag", "Measures", "flag_scan", "measure_scan", "snr"]

Volume = npt.NDArray[Any]
Measures = dict[str, float | bool | str]

#: Where ROMEO's quality says that neighbouring voxels no longer agree.
LOW_QUALITY = 0.5
#: No tissue of a brain at rest reaches it; air, bone and streaks do.
EXTREME_CHI_PPM = 1.0
#: Below this part of the brain's median magnitude a voxel is air, bone or a dead signal.
DARK = 0.15


def measure_scan(
    *,
    chi_ppm: Volume,
    brain_mask: Volume,
    eroded_mask: Volume,
    local_field_ppm: Volume,
    total_field_ppm: Volume,
    quality: Volume,
    magnitude: Volume,
    echo_times_s: Sequence[float],
    voxel_size_mm: Triple,
    b0_direction: Triple,
) -> Measures:
    """Measure a processed scan.

    A measure that cannot be taken, for instance in an empty mask, is NaN.

    Parameters
    ----------
    chi_ppm, local_field_ppm
        Susceptibility and the field it explains, shape ``(x, y, z)``, valid in the eroded mask.
    brain_mask, eroded_mask
        Masks of that shape.
    total_field_ppm
        Field before background removal, valid in the brain mask.
    quality
        Phase quality in [0, 1].
    magnitude
        Shape ``(echo, x, y, z)``.
    echo_times_s, voxel_size_mm, b0_direction
        The acquisition; the direction is a unit vector in voxel axes.

    Returns
    -------
    dict
        Keys end in their unit. ``chi_*`` and ``local_field_*`` are taken in the eroded mask,
        fractions of finite values; the others in the brain mask.
    """
    brain, eroded = brain_mask.astype(bool), eroded_mask.astype(bool)
    voxel_ml = float(np.prod(voxel_size_mm)) / 1000
    chi, local = chi_ppm[eroded], local_field_ppm[eroded]
    first, last = magnitude[0], magnitude[-1]
    measures: Measures = {
        "brain_volume_ml": float(brain.sum()) * voxel_ml,
        "eroded_coverage_fraction": _mean(eroded[brain]),
        "n_echoes": float(len(echo_times_s)),
        "first_echo_time_ms": 1e3 * echo_times_s[0],
        "last_echo_time_ms": 1e3 * echo_times_s[-1],
        "voxel_volume_mm3": 1e3 * voxel_ml,
        "voxel_anisotropy": max(voxel_size_mm) / min(voxel_size_mm),
        "obliquity_deg": obliquity_deg(b0_direction),
        "chi_mean_ppm": _mean(chi),
        "chi_sd_ppm": _sd(chi),
        **{f"chi_p{p:02d}_ppm": _percentile(chi, p) for p in (1, 5, 50, 95, 99)},
        "chi_extreme_fraction": _mean(np.abs(chi) > EXTREME_CHI_PPM),
        "chi_nonfinite_fraction": _mean(~np.isfinite(chi)),
        "chi_of_fastest_decay_ppm": _chi_of_fastest_decay_ppm(chi, first[eroded], last[eroded]),
        "total_field_sd_ppm": _sd(total_field_ppm[brain]),
        "local_field_sd_ppm": _sd(local),
        "local_field_p99_ppm": _percentile(np.abs(local), 99),
        "dipole_residual_percent": dipole_residual_percent(
            chi_ppm, local_field_ppm, eroded, voxel_size_mm, b0_direction
        ),
        "streak_index": streak_index(chi_ppm, eroded, voxel_size_mm, b0_direction),
        "low_quality_fraction": _mean(quality[brain] < LOW_QUALITY),
        "dark_fraction": _mean(first[brain] < DARK * _percentile(first[brain], 50)),
    }
    for echo, volume in enumerate(magnitude, start=1):
        measures[f"snr_echo{echo}"] = snr(volume, eroded)
    return measures


def snr(magnitude: Volume, mask: Volume) -> float:
    """Median signal over noise, both inside the mask, so that zeroed air does not matter.

    The noise is the robust spread of a mixed second difference along all three axes, in which
    smooth anatomy cancels: ``sd = 1.4826 * MAD / sqrt(6^3)``. Interpolated images look better than
    they are.

    References
    ----------
    Immerkaer 1996, doi:10.1006/cviu.1996.0060 (the two-dimensional form).
    """
    difference = magnitude.astype(np.float64)
    for axis in range(3):
        difference = np.diff(difference, n=2, axis=axis)
    inside = mask[1:-1, 1:-1, 1:-1]
    noise = _percentile(np.abs(difference[inside]), 50) * 1.4826 / sqrt(6.0**3)
    signal = _percentile(magnitude[mask], 50)
    return signal / noise if noise > 0 else float("nan")


def _chi_of_fastest_decay_ppm(chi: Volume, first: Volume, last: Volume) -> float:
    """Mean susceptibility, less the median, of the 2 % of voxels whose signal decays fastest.

    Iron and deoxygenated blood decay fast and are paramagnetic: with the phase's sign right this
    is positive.
    """
    valid = np.isfinite(chi) & (first > 0) & (last > 0) & (first > 0.5 * _percentile(first, 50))
    if not valid.any():
        return float("nan")
    decay, chi = first[valid] / last[valid], chi[valid]
    fastest = decay >= np.percentile(decay, 98)
    return float(chi[fastest].mean() - np.median(chi)) if np.ptp(decay) > 0 else float("nan")


def _finite(values: Volume) -> Volume:
    return values[np.isfinite(values)]


def _mean(values: Volume) -> float:
    values = _finite(values)
    return float(values.mean(dtype=np.float64)) if values.size else float("nan")


def _sd(values: Volume) -> float:
    values = _finite(values)
    return float(values.std(dtype=np.float64)) if values.size else float("nan")


def _percentile(values: Volume, percent: float) -> float:
    values = _finite(values)
    return float(np.percentile(values, percent)) if values.size else float("nan")
