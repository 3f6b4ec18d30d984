"""Agreement region by region: what a clinical reader would compare."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from isdu_bids.errors import DataError
from isdu_bids.evaluation.metrics import Volume, comparable, pearson_r, slope


def region_table(
    chi_ppm: Volume,
    truth_ppm: Volume,
    mask: Volume,
    labels: Volume,
    names: Mapping[int, str] | None = None,
) -> pd.DataFrame:
    """Means of map and truth in every region, and how well the voxels inside it agree.

    Parameters
    ----------
    chi_ppm, truth_ppm, mask, labels
        Volumes ``(x, y, z)``; label 0 and voxels outside the mask are left out.
    names
        Of labels; others are called ``label-<index>``.

    Returns
    -------
    DataFrame
        One row per region: ``index, name, n_voxels, mean_ppm, sd_ppm, truth_mean_ppm,
        truth_sd_ppm, bias_ppm`` (difference of the means), ``pearson_r, slope`` (over the voxels
        of the region; NaN where the truth has one value only).

    Raises
    ------
    DataError
        See `comparable`; or if the labels have another shape, or none lies inside the mask.
    """
    chi, truth, inside = comparable(chi_ppm, truth_ppm, mask)
    if labels.shape != inside.shape:
        raise DataError(f"labels have shape {labels.shape}, the mask {inside.shape}; resample them")
    chi, truth, labels = (volume[inside] for volume in (chi, truth, labels))
    rows = []
    for index in np.unique(labels[labels > 0]).astype(int):
        region = labels == index
        a, b = chi[region], truth[region]
        everywhere = np.ones(len(a), bool)
        rows.append(
            {
                "index": index,
                "name": (names or {}).get(index, f"label-{index}"),
                "n_voxels": len(a),
                "mean_ppm": a.mean(),
                "sd_ppm": a.std(),
                "truth_mean_ppm": b.mean(),
                "truth_sd_ppm": b.std(),
                "bias_ppm": a.mean() - b.mean(),
                "pearson_r": pearson_r(a, b, everywhere),
                "slope": slope(a, b, everywhere) if np.ptp(b) else math.nan,
            }
        )
    if not rows:
        raise DataError("no label lies inside the mask; are labels and mask of one subject?")
    return pd.DataFrame(rows)


def region_scores(
    chi_ppm: Volume, truth_ppm: Volume, mask: Volume, labels: Volume | None = None
) -> dict[str, float]:
    """Score a map by its regional means against the true ones.

    Parameters
    ----------
    chi_ppm, truth_ppm, mask, labels
        As for `region_table`. Without labels every score is NaN.

    Returns
    -------
    dict
        ``pearson_r`` and ``slope`` over the regions' means, and ``bias_ppm``, the mean difference.
    """
    if labels is None:
        return dict.fromkeys(("pearson_r", "slope", "bias_ppm"), math.nan)
    regions = region_table(chi_ppm, truth_ppm, mask, labels)
    means, true_means = regions["mean_ppm"].to_numpy(), regions["truth_mean_ppm"].to_numpy()
    every = np.ones(len(regions), bool)
    return {
        "pearson_r": pearson_r(means, true_means, every),
        "slope": slope(means, true_means, every) if np.ptp(true_means) else math.nan,
        "bias_ppm": float(regions["bias_ppm"].mean()),
    }
