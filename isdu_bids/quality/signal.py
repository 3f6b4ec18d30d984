"""What the magnitude says of a scan: its noise, and where the signal decays fastest."""

from __future__ import annotations

from math import sqrt

import numpy as np

from isdu_bids.quality.maps import Volume, percentile


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
    noise = percentile(np.abs(difference[inside]), 50) * 1.4826 / sqrt(6.0**3)
    signal = percentile(magnitude[mask], 50)
    return signal / noise if noise > 0 else float("nan")


def chi_of_fastest_decay_ppm(chi_ppm: Volume, first: Volume, last: Volume) -> float:
    """Mean susceptibility, less the median, of the 2 % of voxels whose signal decays fastest.

    Iron and deoxygenated blood decay fast and are paramagnetic: with the phase's sign right this
    is positive.

    Parameters
    ----------
    chi_ppm, first, last
        Susceptibility, and magnitude of the first and the last echo, of the same voxels.
    """
    valid = np.isfinite(chi_ppm) & (first > 0) & (last > 0) & (first > 0.5 * percentile(first, 50))
    if not valid.any():
        return float("nan")
    decay, chi = first[valid] / last[valid], chi_ppm[valid]
    fastest = decay >= np.percentile(decay, 98)
    return float(chi[fastest].mean() - np.median(chi)) if np.ptp(decay) > 0 else float("nan")
