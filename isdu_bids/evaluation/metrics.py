"""How far a map is from the truth."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Volume = npt.NDArray[Any]


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
    a, b = estimate[mask].astype(np.float64), truth[mask].astype(np.float64)
    a, b = a - a.mean(), b - b.mean()
    return round(float(100 * np.linalg.norm(a - b) / np.linalg.norm(b)), 10)


def slope(estimate: Volume, truth: Volume, mask: Volume) -> float:
    """Regression slope of the estimate on the truth inside the mask; below 1 it is too flat."""
    a, b = estimate[mask].astype(np.float64), truth[mask].astype(np.float64)
    b = b - b.mean()
    return float(a @ b / (b @ b))


def dice(a: Volume, b: Volume) -> float:
    """Overlap of two masks, ``2 |a and b| / (|a| + |b|)``."""
    a, b = a.astype(bool), b.astype(bool)
    return float(2 * np.sum(a & b) / (a.sum() + b.sum()))
