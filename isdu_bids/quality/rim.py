"""The rim of a map: where background field that was not removed, and sinuses, show first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

#: How far from the edge of the mask the rim reaches, and the standard deviation of the smoothing
#: that leaves blobs and bands but no noise.
RIM_MM, SMOOTHING_MM = 6.0, 4.0


def rim_deviation(
    volume: npt.NDArray[Any], mask: npt.NDArray[np.bool_], voxel_size_mm: Sequence[float]
) -> float:
    """How far a smoothed map strays at the rim of its mask from its median inside.

    The 99th percentile of the absolute difference, over the voxels within 6 mm of the edge.
    Smoothing (Gaussian, 4 mm) takes in voxels of the mask only.

    Returns
    -------
    float
        In the unit of the map; NaN for an empty mask or a map that is not finite in it.
    """
    if not mask.any() or not np.isfinite(volume[mask]).all():
        return float("nan")
    boxes = ndimage.find_objects(mask.astype(np.uint8))
    inside = np.pad(mask[boxes[0]], 1)  # the edge of the volume is an edge, too
    values = np.pad(np.where(mask, volume, 0)[boxes[0]].astype(np.float32), 1)
    sigma = [SMOOTHING_MM / size for size in voxel_size_mm]
    weight = ndimage.gaussian_filter(inside.astype(np.float32), sigma)
    smooth = ndimage.gaussian_filter(values, sigma) / np.maximum(weight, 1e-6)
    depth_mm = max(RIM_MM, *voxel_size_mm)  # one voxel at least
    rim = inside & (ndimage.distance_transform_edt(inside, sampling=voxel_size_mm) <= depth_mm)
    return float(np.percentile(np.abs(smooth[rim] - np.median(smooth[inside])), 99))
