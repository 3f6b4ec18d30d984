"""Mask morphology with radii in millimetres.

Distances are Euclidean between voxel centres, so anisotropic voxels are treated truly. The faces of
the volume do not erode: beyond them lies unknown tissue, not background.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

BoolArray = npt.NDArray[np.bool_]


def erode(mask: BoolArray, radius_mm: float, voxel_size_mm: Sequence[float]) -> BoolArray:
    """Keep the voxels with no background within ``radius_mm``."""
    if mask.all() or radius_mm <= 0:
        return mask.copy()
    return _distance_mm(mask, voxel_size_mm) > radius_mm


def dilate(mask: BoolArray, radius_mm: float, voxel_size_mm: Sequence[float]) -> BoolArray:
    """Add the voxels within ``radius_mm`` of the mask."""
    return ~erode(~mask, radius_mm, voxel_size_mm)


def close_gaps(mask: BoolArray, radius_mm: float, voxel_size_mm: Sequence[float]) -> BoolArray:
    """Dilate and erode: fills gaps narrower than twice ``radius_mm``, keeps the outline."""
    reach = [int(np.ceil(radius_mm / size)) + 1 for size in voxel_size_mm]
    padded = np.pad(mask, [(r, r) for r in reach])
    closed = erode(dilate(padded, radius_mm, voxel_size_mm), radius_mm, voxel_size_mm)
    return closed[tuple(slice(r, -r) for r in reach)] | mask


def fill_holes(mask: BoolArray) -> BoolArray:
    """Fill the background that is enclosed by the mask in 3D."""
    return np.asarray(ndimage.binary_fill_holes(mask), np.bool_)


def largest_component(mask: BoolArray) -> BoolArray:
    """Largest face-connected part of a mask; an empty mask stays empty."""
    labels, _ = ndimage.label(mask)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return mask & (labels == sizes.argmax())


def bounding_box(mask: BoolArray) -> tuple[slice, slice, slice]:
    """Smallest box around a mask, one voxel wider where the volume allows it."""
    slices = []
    for axis in range(3):
        hit = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        first, last = (hit[0], hit[-1]) if hit.size else (0, mask.shape[axis] - 1)
        slices.append(slice(max(0, int(first) - 1), int(last) + 2))
    return slices[0], slices[1], slices[2]


def _distance_mm(mask: BoolArray, voxel_size_mm: Sequence[float]) -> npt.NDArray[np.float64]:
    return np.asarray(ndimage.distance_transform_edt(mask, sampling=tuple(voxel_size_mm)))
