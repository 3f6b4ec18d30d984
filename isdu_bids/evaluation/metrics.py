"""How far a map is from the truth: what the metric families share."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from isdu_bids.errors import DataError

Volume = npt.NDArray[Any]


def comparable(
    estimate: Volume, truth: Volume, mask: Volume
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Both maps in float64 and zero outside the mask, and the mask as bool.

    Raises
    ------
    DataError
        If shapes differ, the mask is empty, a map is not finite inside the mask, or the truth has
        one value only there.
    """
    if not estimate.shape == truth.shape == mask.shape:
        raise DataError(
            f"shapes differ: map {estimate.shape}, truth {truth.shape}, mask {mask.shape}; "
            "resample them to one grid"
        )
    inside = np.asarray(mask > 0)
    if not inside.any():
        raise DataError("the mask is empty, so there is nothing to compare")
    for name, volume in (("map", estimate), ("truth", truth)):
        if n_bad := int((~np.isfinite(volume[inside])).sum()):
            raise DataError(
                f"the {name} has {n_bad} voxels inside the mask that are not finite; "
                "take them out of the mask"
            )
    if np.ptp(truth[inside]) == 0:
        raise DataError("the truth has one value only inside the mask; is it the right file?")
    a, b = (np.where(inside, volume, 0).astype(np.float64) for volume in (estimate, truth))
    return a, b, inside


def nrmse_percent(estimate: Volume, truth: Volume, mask: Volume) -> float:
    """Root mean square error relative to the truth, both demeaned in the mask, in percent.

    ``100 ||(a - mean a) - (b - mean b)|| / ||b - mean b||``: susceptibility and fields are known
    up to a constant.

    Examples
    --------
    >>> truth = np.arange(8.0).reshape(2, 2, 2)
    >>> nrmse_percent(0.9 * truth + 5, truth, truth >= 0)
    10.0
    """
    a, b = _demeaned(estimate, mask), _demeaned(truth, mask)
    return round(float(100 * np.linalg.norm(a - b) / np.linalg.norm(b)), 10)


def detrended_nrmse_percent(estimate: Volume, truth: Volume, mask: Volume) -> float:
    """Demeaned NRMSE (%) after undoing the regression ``a = slope b + intercept`` on the truth.

    ``100 ||(a - mean a) / slope - (b - mean b)|| / ||b - mean b|| = 100 sqrt(1/r^2 - 1)``, which
    may exceed the NRMSE. NaN where a map has one value only.

    Examples
    --------
    >>> truth = np.arange(8.0)
    >>> detrended_nrmse_percent(0.7 * truth + 5, truth, truth >= 0)
    0.0
    """
    r = pearson_r(estimate, truth, mask)
    if math.isnan(r) or r == 0:
        return math.nan if math.isnan(r) else math.inf
    a, b = _demeaned(estimate, mask) / slope(estimate, truth, mask), _demeaned(truth, mask)
    return round(float(100 * np.linalg.norm(a - b) / np.linalg.norm(b)), 10)


def slope(estimate: Volume, truth: Volume, mask: Volume) -> float:
    """Regression slope of the estimate on the truth inside the mask; below 1 it is too flat."""
    a, b = estimate[mask].astype(np.float64), truth[mask].astype(np.float64)
    b = b - b.mean()
    return float(a @ b / (b @ b))


def pearson_r(estimate: Volume, truth: Volume, mask: Volume) -> float:
    """Pearson correlation inside the mask; NaN if a map has one value only there."""
    if min(np.ptp(estimate[mask]), np.ptp(truth[mask])) == 0:
        return math.nan
    a, b = _demeaned(estimate, mask), _demeaned(truth, mask)
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def dice(a: Volume, b: Volume) -> float:
    """Overlap of two masks, ``2 |a and b| / (|a| + |b|)``."""
    a, b = a.astype(bool), b.astype(bool)
    return float(2 * np.sum(a & b) / (a.sum() + b.sum()))


def _demeaned(volume: Volume, mask: Volume) -> npt.NDArray[np.float64]:
    values = volume[mask].astype(np.float64)
    demeaned: npt.NDArray[np.float64] = values - values.mean()
    return demeaned
