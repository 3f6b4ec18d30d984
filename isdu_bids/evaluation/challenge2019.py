"""The metrics of the second reconstruction challenge (RC-2, Seoul 2019), by its phantom's labels.

1 caudate, 2 globus pallidus, 3 putamen, 4 red nucleus, 5 dentate nucleus, 6 substantia nigra and
subthalamic nucleus, 7 thalamus, 8 white matter, 9 grey matter, 10 CSF, 11 blood, 12 fat, 13 bone,
14 air, 15 muscle, 16 calcification.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from isdu_bids.errors import DataError
from isdu_bids.evaluation.filters import FloatVolume
from isdu_bids.evaluation.metrics import (
    Volume,
    comparable,
    detrended_nrmse_percent,
    nrmse_percent,
    slope,
)

BoolVolume = npt.NDArray[np.bool_]

DEEP_GREY_MATTER = (1, 2, 3, 4, 5, 6)
TISSUE = (7, 8, 9)
BLOOD = 11
CALCIFICATION = 16

_CUBE = np.ones((3, 3, 3), bool)
#: Thresholds (ppm) that are tried to segment the calcification, and voxels between the boxes.
_THRESHOLDS_PPM = -0.01 * np.arange(151)
_INNER_MARGIN, _RIM, _BEYOND = 3, 4, 4


def rc2_scores(
    chi_ppm: Volume, truth_ppm: Volume, mask: Volume, labels: Volume | None = None
) -> dict[str, float]:
    """Score a map as the second challenge does.

    Parameters
    ----------
    chi_ppm, truth_ppm, mask
        Volumes ``(x, y, z)``; both maps count as zero outside the mask.
    labels
        Of the challenge's phantom, same shape, 0 elsewhere. A metric whose labels are missing is
        NaN.

    Returns
    -------
    dict
        ``nrmse_percent`` (demeaned), ``dnrmse_percent`` and ``dnrmse_{tissue,blood,dgm}_percent``
        (detrended; tissue and deep grey matter eroded, blood dilated by one voxel),
        ``dgm_slope_deviation``, ``calcification_moment_deviation`` (ppm voxels),
        ``calcification_streak``. Zero is best.

    Raises
    ------
    DataError
        See `comparable`; or if labels have another shape or numbers beyond 16.

    References
    ----------
    Bilgic et al. 2021, doi:10.1002/mrm.28754.
    """
    chi, truth, inside = comparable(chi_ppm, truth_ppm, mask)
    labels = _phantom_labels(labels, inside)

    def detrended(region: BoolVolume) -> float:
        if not region.any() or np.ptp(truth[region]) == 0:
            return math.nan
        return detrended_nrmse_percent(chi, truth, region)

    moment, streak = _calcification(chi, truth, labels == CALCIFICATION)
    return {
        "nrmse_percent": nrmse_percent(chi, truth, inside),
        "dnrmse_percent": detrended(inside),
        "dnrmse_tissue_percent": detrended(_eroded(np.isin(labels, TISSUE))),
        "dnrmse_blood_percent": detrended(ndimage.binary_dilation(labels == BLOOD, _CUBE)),
        "dnrmse_dgm_percent": detrended(_eroded(np.isin(labels, DEEP_GREY_MATTER))),
        "dgm_slope_deviation": _slope_deviation(chi, truth, labels),
        "calcification_moment_deviation": moment,
        "calcification_streak": streak,
    }


def _phantom_labels(labels: Volume | None, inside: BoolVolume) -> Volume:
    """Labels inside the mask; none at all if none were given."""
    if labels is None:
        return np.zeros(inside.shape, np.int16)
    if labels.shape != inside.shape:
        raise DataError(f"labels have shape {labels.shape}, the mask {inside.shape}; resample them")
    if labels.max() > CALCIFICATION:
        raise DataError(
            f"label {labels.max():g} is none of the RC-2 phantom (1 to 16); its metrics do not "
            "apply to another segmentation: leave the family rc-2 out, or translate the labels"
        )
    return np.where(inside, labels, 0)


def _eroded(region: BoolVolume) -> BoolVolume:
    return ndimage.binary_erosion(region, _CUBE)


def _slope_deviation(chi: FloatVolume, truth: FloatVolume, labels: Volume) -> float:
    """``|1 - slope|`` of the means of the six deep nuclei against the true ones."""
    regions = [labels == label for label in DEEP_GREY_MATTER]
    if not all(region.any() for region in regions):
        return math.nan
    means, true_means = (
        np.array([volume[region].mean() for region in regions]) for volume in (chi, truth)
    )
    return abs(1 - slope(means, true_means, np.ones(len(regions), bool)))


def _calcification(
    chi: FloatVolume, truth: FloatVolume, calcification: BoolVolume
) -> tuple[float, float]:
    """Deviation of the calcification's moment (sum of ppm), and the streaks around it.

    The calcification of ``chi`` is what lies in a box around the true one below the highest
    threshold that nothing in the shell around that box falls below. Streaks are the SD of what a
    linear fit on the truth leaves in the rim next to the box, relative to the calcification's mean.
    """
    if not calcification.any():
        return math.nan, math.nan
    inner = _box(calcification, _INNER_MARGIN)
    rim = _box(calcification, _INNER_MARGIN + _RIM) & ~inner
    shell = _box(calcification, _INNER_MARGIN + _RIM + _BEYOND) & ~inner
    free = _THRESHOLDS_PPM[chi[shell].min(initial=0) >= _THRESHOLDS_PPM]
    found = chi[inner & (chi < free.max(initial=_THRESHOLDS_PPM[-1]))]
    moment_deviation = float(abs(truth[calcification].sum() - found.sum()))
    if not found.size or not rim.any() or np.ptp(truth[rim]) == 0:
        return moment_deviation, math.nan
    fit = np.polynomial.Polynomial.fit(truth[rim], chi[rim], 1)
    residual = chi[rim] - fit(truth[rim])
    return moment_deviation, float(residual.std(ddof=1) / abs(found.mean()))


def _box(region: BoolVolume, margin: int) -> BoolVolume:
    """Bounding box of a region, ``margin`` voxels wider, clipped to the volume."""
    (edges,) = ndimage.find_objects(region.astype(np.int8))
    box = np.zeros(region.shape, bool)
    box[tuple(slice(max(0, edge.start - margin), edge.stop + margin) for edge in edges)] = True
    return box
