"""The metrics of the QSM-CI leaderboard for maps without its phantom's labels."""

from __future__ import annotations

from functools import partial

import numpy as np
from scipy import ndimage

from isdu_bids.evaluation.filters import box_mean, similarity
from isdu_bids.evaluation.metrics import (
    Volume,
    comparable,
    detrended_nrmse_percent,
    nrmse_percent,
    pearson_r,
)


def qsm_ci_scores(chi_ppm: Volume, truth_ppm: Volume, mask: Volume) -> dict[str, float]:
    """Score a map as QSM-CI 0.6 does: demeaned, everything taken inside the mask.

    Returns
    -------
    dict
        ``nrmse_percent``, ``detrended_nrmse_percent``, ``xsim`` (1 is best), ``hfen_percent``,
        ``pearson_r``.

    References
    ----------
    https://pypi.org/project/qsm-ci
    """
    chi, truth, inside = comparable(chi_ppm, truth_ppm, mask)
    xsim = similarity(chi, truth, partial(box_mean, size=5), c1=1e-4, c2=1e-6)
    chi_edges, truth_edges = (
        ndimage.gaussian_laplace(volume, sigma=1.5, truncate=5.0)[inside] for volume in (chi, truth)
    )
    hfen = np.linalg.norm(chi_edges - truth_edges) / np.linalg.norm(truth_edges)
    return {
        "nrmse_percent": nrmse_percent(chi, truth, inside),
        "detrended_nrmse_percent": detrended_nrmse_percent(chi, truth, inside),
        "xsim": float(xsim[inside].mean()),
        "hfen_percent": float(100 * hfen),
        "pearson_r": pearson_r(chi, truth, inside),
    }
