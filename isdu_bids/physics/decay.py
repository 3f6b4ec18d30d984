"""How fast the signal of a brain decays."""

from __future__ import annotations


def typical_r2star_per_s(field_strength_t: float) -> float:
    """R2* of a healthy adult's brain, between grey and white matter: ``7.6 + 3.7 B0`` (1/s).

    A line through the means of both at 1.5, 3 and 7 T: 13.5, 17.0 and 33.7 per second.

    References
    ----------
    Peters et al. 2007, doi:10.1016/j.mri.2007.02.014.

    Examples
    --------
    >>> round(typical_r2star_per_s(3.0), 1)
    18.7
    """
    return 7.6 + 3.7 * field_strength_t
