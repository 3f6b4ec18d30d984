"""Filters of the image metrics: Laplacian of Gaussian, and local statistics for SSIM."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage, signal

FloatVolume = npt.NDArray[np.float64]
LocalMean = Callable[[FloatVolume], FloatVolume]


def laplacian_of_gaussian(volume: FloatVolume, size: int = 15, sigma: float = 1.5) -> FloatVolume:
    r"""Edges at the scale ``sigma``, by a kernel of ``size``^3 voxels; zero around the volume.

    ``H = (r^2/s^4 - 3/s^2) G / sum G``, less its mean, with ``G = exp(-r^2 / 2 s^2)``.

    References
    ----------
    Ravishankar & Bresler 2011 (HFEN), doi:10.1109/TMI.2010.2090538.
    """
    axis = np.arange(size) - (size - 1) / 2
    squared = axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2
    gaussian = np.exp(-squared / (2 * sigma**2))
    kernel = (squared / sigma**4 - 3 / sigma**2) * gaussian / gaussian.sum()
    edges: FloatVolume = signal.fftconvolve(volume, kernel - kernel.mean(), mode="same")
    return edges


def gaussian_mean(
    volume: FloatVolume, size: int, sigma: float, around: Literal["zero", "nearest"]
) -> FloatVolume:
    """Mean over ``size``^3 voxels weighted by a Gaussian; ``around``: what lies outside."""
    taps = np.exp(-((np.arange(size) - (size - 1) / 2) ** 2) / (2 * sigma**2))
    mode = "constant" if around == "zero" else "nearest"
    for axis in range(volume.ndim):
        volume = ndimage.correlate1d(volume, taps / taps.sum(), axis, mode=mode)
    return volume


def box_mean(volume: FloatVolume, size: int) -> FloatVolume:
    """Mean over those of the ``size``^3 voxels around each that lie inside the volume."""
    total, share = (
        ndimage.uniform_filter(part, size, mode="constant")
        for part in (volume, np.ones_like(volume))
    )
    mean: FloatVolume = total / share
    return mean


def similarity(
    a: FloatVolume, b: FloatVolume, local_mean: LocalMean, c1: float, c2: float
) -> FloatVolume:
    """Structural similarity at every voxel, 1 where the surroundings agree.

    ``(2 ma mb + C1) (2 cab + C2) / ((ma^2 + mb^2 + C1) (va + vb + C2))`` with local means,
    variances ``E[x^2] - E[x]^2`` and covariance.

    References
    ----------
    Wang et al. 2004, doi:10.1109/TIP.2003.819861.
    """
    mean_a, mean_b = local_mean(a), local_mean(b)
    covariance = local_mean(a * b) - mean_a * mean_b
    variances = local_mean(a**2) - mean_a**2 + local_mean(b**2) - mean_b**2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return luminance * (2 * covariance + c2) / (variances + c2)
