"""Two passes: reliable voxels are inverted alone, the others after them with all."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from isdu_bids.errors import DataError

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]


def merge_passes(
    inner: FloatArray, inner_mask: BoolArray, whole: FloatArray, whole_mask: BoolArray
) -> tuple[FloatArray, BoolArray]:
    """Fill what the first pass left out with the second.

    The passes differ by an unobservable constant; the second is shifted to the first by their
    median difference where both are valid. Streaks of unreliable voxels stay out of the first.

    Parameters
    ----------
    inner, inner_mask
        Map of the reliable voxels, and where it is valid.
    whole, whole_mask
        Map of all voxels.

    Raises
    ------
    DataError
        If the passes have no voxel in common.

    References
    ----------
    Stewart et al. 2022 (two-pass combination), doi:10.1002/mrm.29048.
    """
    both = inner_mask & whole_mask
    if not both.any():
        raise DataError("the two passes share no voxel; run without --two-pass")
    shift = np.median(inner[both] - whole[both])
    merged = np.where(inner_mask, inner, np.where(whole_mask, whole + shift, 0))
    return merged.astype(np.float32), inner_mask | whole_mask
