"""The metric families by name.

Each takes ``chi_ppm, truth_ppm, mask``, volumes ``(x, y, z)``, some also ``labels``, and returns
its metrics by name. Both maps count as zero outside the mask; volumes that cannot be
compared are a DataError (`metrics.comparable`). Metrics of the same name differ between families:
never mix them.
"""

from __future__ import annotations

from isdu_bids.registry import Method, Registry

_MAPS = ("chi_ppm", "truth_ppm", "mask")

FAMILIES = Registry(
    "metric family",
    Method(
        "paper",
        "isdu_bids.evaluation.paper:paper_scores",
        "metrics of the ISDU-QSMNet article, from the 2016 challenge: over the whole volume, "
        "not demeaned",
        "vaddadi2025",
        inputs=_MAPS,
    ),
    Method(
        "qsm-ci",
        "isdu_bids.evaluation.qsm_ci:qsm_ci_scores",
        "metrics of the QSM-CI leaderboard: inside the mask, demeaned",
        "https://pypi.org/project/qsm-ci",
        inputs=_MAPS,
    ),
    Method(
        "rc-2",
        "isdu_bids.evaluation.challenge2019:rc2_scores",
        "metrics of the second reconstruction challenge, with the labels of its phantom",
        "10.1002/mrm.28754",
        inputs=_MAPS,
        optional=("labels",),
    ),
    Method(
        "extra",
        "isdu_bids.evaluation.extra:extra_scores",
        "correlation, slope, and pSNR inside the mask",
        "docs/evaluation.md",
        inputs=_MAPS,
    ),
    Method(
        "regions",
        "isdu_bids.evaluation.regions:region_scores",
        "correlation, slope and bias of the means of regions",
        "docs/evaluation.md",
        inputs=_MAPS,
        optional=("labels",),
    ),
    default="paper",
)

#: Families that are scored where none are named.
DEFAULT = ("paper", "qsm-ci", "extra")
