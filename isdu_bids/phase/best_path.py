"""Best-path unwrapping by scikit-image, which needs no compiler."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from skimage.restoration import unwrap_phase

from isdu_bids.phase.wrapping import BoolArray, FloatArray, align_echoes


def unwrap_best_path(
    phase_rad: FloatArray,
    *,
    mask: BoolArray,
    echo_times_s: Sequence[float],
) -> FloatArray:
    """Unwrap each echo along its most reliable path.

    References
    ----------
    Abdul-Rahman et al. 2007, doi:10.1364/AO.46.006623.
    """
    unwrapped = np.zeros_like(phase_rad)
    for echo, phase in enumerate(phase_rad):
        flat = np.ma.array(phase, mask=~mask).squeeze()  # a single slice is a 2D image
        unwrapped[echo] = np.ma.filled(unwrap_phase(flat), 0).reshape(mask.shape)
    return align_echoes(unwrapped, mask, echo_times_s)
