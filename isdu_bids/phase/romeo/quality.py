"""How far the phase of a voxel can be trusted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from isdu_bids.phase.romeo.weights import Edges
from isdu_bids.phase.wrapping import BoolArray, FloatArray


def voxel_quality(
    phase_rad: FloatArray,
    magnitude: FloatArray | None = None,
    echo_times_s: Sequence[float] = (),
    mask: BoolArray | None = None,
) -> FloatArray:
    """Mean quality of the six edges around a voxel, in [0, 1].

    Needs no mask and no unwrapping, so it can help to find the mask. Noise comes out near 0.1,
    smooth phase near 1; voxels at the rim of the mask are lower, because edges across it count 0.

    Parameters
    ----------
    phase_rad
        Wrapped phase, shape ``(echo, x, y, z)``; the first echo is judged, with the second as help.
    magnitude
        Same shape, or None.
    echo_times_s
        Echo times in seconds; needed where there are several echoes.
    mask
        Voxels with edges; the whole volume where None.

    References
    ----------
    Dymerska et al. 2021, doi:10.1002/mrm.28563.
    """
    inside = np.ones(phase_rad.shape[1:], np.bool_) if mask is None else mask
    volume = None if magnitude is None else magnitude[0]
    if len(phase_rad) == 1:
        return Edges(phase_rad[0], inside, volume).voxel_quality()
    ratio = echo_times_s[0] / echo_times_s[1]
    return Edges(phase_rad[0], inside, volume, phase_rad[1], ratio).voxel_quality()
