"""The metrics of the ISDU-QSMNet article: those of the 2016 challenge, and xSIM."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from isdu_bids.evaluation.filters import (
    FloatVolume,
    gaussian_mean,
    laplacian_of_gaussian,
    similarity,
)
from isdu_bids.evaluation.metrics import Volume, comparable

_FULL_SCALE = 255.0


def paper_scores(chi_ppm: Volume, truth_ppm: Volume, mask: Volume) -> dict[str, float]:
    """Score a map as the ISDU-QSMNet article does: not demeaned, background included.

    Errors and filtered errors are summed over the whole volume, so pSNR (and slightly HFEN)
    depend on how much empty space surrounds the mask.

    Returns
    -------
    dict
        ``ssim``, ``xsim`` (1 is best), ``psnr_db``, ``nrmse_percent``, ``hfen_percent``.

    References
    ----------
    Langkammer et al. 2018 (2016 challenge), doi:10.1002/mrm.26830;
    Milovic et al. 2025 (xSIM), doi:10.1002/mrm.30271.
    """
    chi, truth, _ = comparable(chi_ppm, truth_ppm, mask)
    return {
        "ssim": _ssim(chi, truth),
        "xsim": _xsim(chi, truth),
        "psnr_db": psnr_db(chi, truth, np.ones(chi.shape, bool)),
        "nrmse_percent": _relative_norm_percent(chi, truth),
        "hfen_percent": _relative_norm_percent(
            laplacian_of_gaussian(chi), laplacian_of_gaussian(truth)
        ),
    }


def psnr_db(chi: FloatVolume, truth: FloatVolume, where: Volume) -> float:
    """Peak signal-to-noise ratio over ``where``, ``10 log10(255^2 / MSE)``, after `_rescaled`."""
    a, b = _rescaled(chi, truth)
    mse = float(np.mean((a - b)[where] ** 2))
    return 10 * math.log10(_FULL_SCALE**2 / mse) if mse else math.inf


def _rescaled(chi: FloatVolume, truth: FloatVolume) -> tuple[FloatVolume, FloatVolume]:
    """Take the minimum of both off the voxels that are not zero, and set their maximum to 255."""
    low = min(chi.min(), truth.min())
    a, b = (np.where(volume != 0, volume - low, 0.0) for volume in (chi, truth))
    high = max(a.max(), b.max())
    return _FULL_SCALE * a / high, _FULL_SCALE * b / high


def _ssim(chi: FloatVolume, truth: FloatVolume) -> float:
    a, b = _rescaled(chi, truth)
    local_mean = partial(gaussian_mean, size=5, sigma=1.5, around="zero")
    c1, c2 = (0.01 * _FULL_SCALE) ** 2, (0.03 * _FULL_SCALE) ** 2
    return _mean(similarity(a, b, local_mean, c1, c2), where=a != 0)


def _xsim(chi: FloatVolume, truth: FloatVolume) -> float:
    local_mean = partial(gaussian_mean, size=7, sigma=1.5, around="nearest")
    return _mean(similarity(chi, truth, local_mean, c1=1e-4, c2=1e-6), where=truth != 0)


def _mean(values: FloatVolume, where: Volume) -> float:
    return float(values[where].mean()) if where.any() else math.nan


def _relative_norm_percent(a: FloatVolume, b: FloatVolume) -> float:
    return float(100 * np.linalg.norm(a - b) / np.linalg.norm(b))
