"""Plain measures of agreement that belong to no published family."""

from __future__ import annotations

from isdu_bids.evaluation.metrics import Volume, comparable, pearson_r, slope
from isdu_bids.evaluation.paper import psnr_db


def extra_scores(chi_ppm: Volume, truth_ppm: Volume, mask: Volume) -> dict[str, float]:
    """Score a map by regression on the truth, and by a pSNR that empty space does not raise.

    Returns
    -------
    dict
        ``pearson_r``, ``slope`` (of the map on the truth; below 1 it is too flat) and
        ``psnr_in_mask_db``.

    """
    chi, truth, inside = comparable(chi_ppm, truth_ppm, mask)
    return {
        "pearson_r": pearson_r(chi, truth, inside),
        "slope": slope(chi, truth, inside),
        "psnr_in_mask_db": psnr_db(chi, truth, inside),
    }
