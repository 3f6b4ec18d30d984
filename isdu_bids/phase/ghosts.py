"""Ghosts: copies of the head, half a field of view away."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from isdu_bids.phase.wrapping import BoolArray, FloatArray

#: Voxels that a part of the air must have for its median to mean anything.
_ENOUGH = 500
_RIM_VOXELS = 3


def ghost_fraction(magnitude: FloatArray, brain: BoolArray) -> float:
    """Signal where a ghost of the brain would be, above that of other air, relative to the brain.

    Motion, flow and unequal lines of k-space copy the head along the phase-encoding axis, half a
    field of view away. All three axes are tried; the strongest counts.

    Parameters
    ----------
    magnitude
        One echo, ``(x, y, z)``.
    brain
        Its mask, same shape.

    Returns
    -------
    float
        About 0 without ghosts, and where there is too little air to tell.
    """
    bright = float(np.median(magnitude[brain])) if brain.any() else 0.0
    if bright <= 0:
        return 0.0
    head = ndimage.binary_dilation((magnitude > 0.5 * bright) | brain, iterations=_RIM_VOXELS)
    strongest = 0.0
    for axis, n in enumerate(magnitude.shape):
        ghost = np.roll(brain, n // 2, axis) & ~head
        air = ~head & ~np.roll(head, n // 2, axis)
        if min(ghost.sum(), air.sum()) > _ENOUGH:
            extra = float(np.median(magnitude[ghost]) - np.median(magnitude[air]))
            strongest = max(strongest, extra / bright)
    return strongest
