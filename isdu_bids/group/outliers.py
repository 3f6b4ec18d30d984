"""Values far from those of the other scans."""

from __future__ import annotations

import pandas as pd
from scipy import stats

#: Iglewicz and Hoaglin's limit of the robust z-score.
LIMIT = 3.5
#: Among fewer values nothing is far from the others.
MIN_SCANS = 10


def robust_z(values: pd.Series) -> pd.Series:
    """Distance from the median in standard deviations, estimated from the median distance.

    ``z = (x - median) / (1.4826 * median(|x - median|))``; NaN among fewer than `MIN_SCANS`
    values, or where more than half of them are equal.

    References
    ----------
    Iglewicz and Hoaglin 1993, How to detect and handle outliers, ASQC.

    Examples
    --------
    >>> robust_z(pd.Series([*range(10), 100.0])).round(1).tolist()[-2:]
    [0.9, 21.4]
    """
    spread = stats.median_abs_deviation(values, scale="normal", nan_policy="omit")
    if values.count() < MIN_SCANS or not spread > 0:
        return pd.Series(float("nan"), values.index)
    return (values - values.median()) / spread


def scores(values: pd.Series, by: list[pd.Series]) -> pd.Series:
    """`robust_z` among the values that are alike in everything of ``by``."""
    grouped = values.groupby(by, observed=True, dropna=False)
    return grouped.transform(robust_z)
