"""Brain masks from the magnitude and from the quality of the phase."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from isdu_bids.errors import DataError
from isdu_bids.masking.morphology import (
    BoolArray,
    bounding_box,
    close_gaps,
    dilate,
    erode,
    fill_holes,
    largest_component,
)
from isdu_bids.masking.surface import FloatArray, brain_surface_mask

#: Half the thickness of the thinnest link that is not cut off the brain: less than the brain's own
#: lobes, more than the optic canal and the cord's passage through the skull (mm).
_LINK_MM = 14.0
#: Standard deviation of the Gaussian that follows coil shading but not anatomy (mm).
_SHADING_MM = 20.0


def magnitude_mask(
    magnitude: FloatArray, *, voxel_size_mm: Sequence[float], tissue_fraction: float
) -> BoolArray:
    """Brain by its magnitude: an inflated surface, cut to tissue and freed of thin links.

    Parameters
    ----------
    magnitude
        Shape ``(echo, x, y, z)``; the root mean square over echoes is used.
    voxel_size_mm
        Edge lengths of a voxel in mm.
    tissue_fraction
        A voxel is tissue from this fraction of the mean brain magnitude around it.

    Raises
    ------
    DataError
        If the magnitude holds nothing, or no brain is found in it.
    """
    image = combined_echoes(magnitude)
    even = _even_out(image, image > _head_threshold(image), voxel_size_mm)
    inside = brain_surface_mask(even, voxel_size_mm)
    tissue = (_even_out(even, inside, voxel_size_mm) > tissue_fraction) & inside
    brain = np.zeros_like(tissue)
    box = bounding_box(tissue)  # distances are the slow part, and only matter in here
    core = largest_component(erode(tissue[box], _LINK_MM, voxel_size_mm))
    if not core.any():
        raise DataError("no brain found in the magnitude; give a mask (--mask-pattern)")
    reach_mm = _LINK_MM + max(voxel_size_mm) / 2
    brain[box] = fill_holes(dilate(core, reach_mm, voxel_size_mm) & tissue[box])
    return brain


def quality_mask(
    quality: FloatArray, *, voxel_size_mm: Sequence[float], threshold: float
) -> BoolArray:
    """Voxels of reliable phase, as one solid piece: tissue of the whole head, scalp included.

    Parameters
    ----------
    quality
        Quality of the phase in [0, 1], shape ``(x, y, z)``.
    voxel_size_mm
        Edge lengths of a voxel in mm.
    threshold
        Lowest quality that counts as reliable.

    Raises
    ------
    DataError
        If nothing in it is reliable.
    """
    radius_mm = 1.5 * max(voxel_size_mm)
    reliable = close_gaps(quality > threshold, radius_mm, voxel_size_mm)
    core = largest_component(erode(reliable, radius_mm, voxel_size_mm))
    if not core.any():
        raise DataError("the phase is unreliable everywhere; check the part-phase files")
    return fill_holes(dilate(core, radius_mm, voxel_size_mm) & reliable)


def combined_mask(
    magnitude: FloatArray,
    *,
    quality: FloatArray,
    voxel_size_mm: Sequence[float],
    tissue_fraction: float,
    threshold: float,
) -> BoolArray:
    """Brain by its magnitude, less the parts near its rim where the phase is unreliable.

    Unreliable voxels deep in the brain (veins, bleeds) stay: they are what one wants to see.

    Parameters
    ----------
    magnitude, quality, voxel_size_mm, affine, tissue_fraction
        As in :func:`magnitude_mask` and :func:`quality_mask`.
    threshold
        Lowest quality that counts as reliable.
    """
    brain = magnitude_mask(magnitude, voxel_size_mm=voxel_size_mm, tissue_fraction=tissue_fraction)
    return without_unreliable_rim(brain, quality, threshold, voxel_size_mm)


def combined_echoes(magnitude: FloatArray) -> FloatArray:
    """Root mean square over the echoes of ``(echo, x, y, z)``.

    Raises
    ------
    DataError
        If the magnitude holds nothing.
    """
    image = np.sqrt(np.mean(np.nan_to_num(magnitude) ** 2, axis=0, dtype=np.float32))
    if not image.any():
        raise DataError(
            "the magnitude is zero everywhere; check the part-mag files, or give a mask"
        )
    return image


def trimmed_brain(
    found: BoolArray,
    network: str,
    quality: FloatArray,
    threshold: float,
    voxel_size_mm: Sequence[float],
) -> BoolArray:
    """Make what a network found one piece without holes and unreliable rim.

    Raises
    ------
    DataError
        If it found nothing.
    """
    brain = fill_holes(largest_component(found))
    if not brain.any():
        raise DataError(f"{network} found no brain in the magnitude; give a mask (--mask-pattern)")
    return without_unreliable_rim(brain, quality, threshold, voxel_size_mm)


def without_unreliable_rim(
    brain: BoolArray, quality: FloatArray, threshold: float, voxel_size_mm: Sequence[float]
) -> BoolArray:
    """Brain less the parts near its rim where the phase is unreliable, in one piece."""
    reliable = brain & (quality > threshold)
    smooth = close_gaps(reliable, 1.5 * max(voxel_size_mm), voxel_size_mm) & brain
    return fill_holes(largest_component(smooth))


def _head_threshold(image: FloatArray) -> float:
    """Return a fifth of the bright tissue: below it lie air, bone and noise."""
    bright = np.percentile(image, [80, 99])
    return float(image[(image >= bright[0]) & (image <= bright[1])].mean() / 5)


def _even_out(image: FloatArray, where: BoolArray, voxel_size_mm: Sequence[float]) -> FloatArray:
    """Divide by the local mean over ``where``, so that shading by the coils goes."""
    sigma = [_SHADING_MM / size for size in voxel_size_mm]
    total = ndimage.gaussian_filter(np.where(where, image, 0).astype(np.float32), sigma)
    weight = ndimage.gaussian_filter(where.astype(np.float32), sigma)
    reached = weight > 1e-3
    return np.where(reached, image * weight / np.where(reached & (total > 0), total, 1), 0)
