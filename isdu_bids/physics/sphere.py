"""Spherical mean values, on which the SHARP family rests: a harmonic field equals its own mean
over any sphere inside its domain.
"""  # noqa: D205

from __future__ import annotations

from collections.abc import Sequence
from math import pi

import torch
import torch.nn.functional as F

from isdu_bids.physics.padding import mask_box

#: By how much a distance and a radius that are meant to be equal may differ, relative to either.
_ROUNDING = 1e-6


def sphere(voxel_size_mm: Sequence[float], radius_mm: float) -> torch.Tensor:
    """Voxels whose centre lies within ``radius_mm`` of the middle one, normalised to sum 1.

    Returns
    -------
    torch.Tensor
        float32 box of odd edge lengths just large enough for the sphere. A radius below the voxel
        size gives a single 1.

    Examples
    --------
    >>> tuple(sphere((1.0, 1.0, 2.0), 2.0).shape)
    (5, 5, 3)
    """
    axes = []
    for size in voxel_size_mm:
        reach = int(radius_mm / size + _ROUNDING)
        axes.append(torch.arange(-reach, reach + 1, dtype=torch.float64) * size)
    x, y, z = torch.meshgrid(*axes, indexing="ij")
    inside = (x**2 + y**2 + z**2 <= (radius_mm * (1 + _ROUNDING)) ** 2).float()
    return inside / inside.sum()


def kernel_spectrum(kernel: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Half spectrum (real) of a kernel centred on voxel 0 of a periodic grid.

    The kernel must be symmetric along each axis: then its transform is three small matrix products
    with cosines, many times faster than an FFT of the grid.
    """
    spectrum = kernel
    for axis, n in enumerate(shape):
        reach = kernel.shape[axis] // 2
        offsets = torch.arange(-reach, reach + 1, dtype=torch.float64, device=kernel.device)
        count = n // 2 + 1 if axis == 2 else n
        waves = torch.arange(count, dtype=torch.float64, device=kernel.device) / n
        cosines = torch.cos(2 * pi * waves[:, None] * offsets).to(kernel.dtype)
        spectrum = torch.tensordot(spectrum, cosines, dims=([0], [1]))  # moves the axis last
    return spectrum


def depth_mm(mask: torch.Tensor, voxel_size_mm: Sequence[float], reach_mm: float) -> torch.Tensor:
    """Distance (mm) of each voxel of a mask to the nearest voxel centre outside it.

    Beyond the volume all is outside. Squared distances separate along the axes, so each axis takes
    one minimum over shifts.

    Returns
    -------
    torch.Tensor
        float32, exact up to ``reach_mm``; infinite where nothing outside is that near; 0 outside.

    Examples
    --------
    >>> depth_mm(torch.ones(1, 1, 5, dtype=torch.bool), (9.0, 9.0, 2.0), 5.0).flatten().tolist()
    [2.0, 4.0, inf, 4.0, 2.0]
    """
    box = mask_box(mask)
    squared = torch.where(mask[box], torch.inf, 0.0)
    for axis, size in enumerate(voxel_size_mm):
        steps = int(reach_mm / size + _ROUNDING)
        length = squared.shape[axis]
        padded = F.pad(squared.movedim(axis, -1), (steps, steps)).movedim(-1, axis)
        squared = padded.narrow(axis, steps, length).clone()
        for step in range(1, steps + 1):
            for start in (steps - step, steps + step):
                candidate = padded.narrow(axis, start, length) + (step * size) ** 2
                torch.minimum(squared, candidate, out=squared)
    depth = squared.new_zeros(mask.shape)
    depth[box] = squared.sqrt()
    return depth


def fits(depth: torch.Tensor, radius_mm: float) -> torch.Tensor:
    """Where a sphere fits into the mask: nothing outside is as near as its outermost voxels."""
    return depth > radius_mm * (1 + _ROUNDING)


def neighbours(voxel_size_mm: Sequence[float]) -> torch.Tensor:
    """Mean of the six nearest voxels, weighted by 1/distance^2: the smallest sphere.

    ``1 - neighbours`` is the seven-point Laplacian up to a factor.

    Examples
    --------
    >>> neighbours((1.0, 1.0, 2.0))[1, 1].tolist()
    [0.0555555559694767, 0.0, 0.0555555559694767]
    """
    mean = torch.zeros(3, 3, 3)
    for axis, size in enumerate(voxel_size_mm):
        middle = mean.movedim(axis, 0)[:, 1, 1]
        middle[0] = middle[2] = 1 / size**2
    return mean / mean.sum()
