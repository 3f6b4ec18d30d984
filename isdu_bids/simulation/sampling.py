"""From anatomy to voxels: labels on any grid, and partial volume."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F


def nearest_labels(head: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Labels at voxel coordinates ``(..., 3)``, 0 outside the volume."""
    size = torch.tensor(head.shape, device=head.device)
    index = points.round().long()
    inside = ((index >= 0) & (index < size)).all(-1)
    x, y, z = torch.minimum(index.clamp(min=0), size - 1).unbind(-1)
    return torch.where(inside, head[x, y, z], 0)


def resample_labels(
    labels: torch.Tensor, voxel_size_mm: Sequence[float], wanted_mm: Sequence[float]
) -> torch.Tensor:
    """Nearest labels on a grid of another voxel size with the same centre and extent."""
    axes = []
    for n, old, new in zip(labels.shape, voxel_size_mm, wanted_mm, strict=True):
        n_new = max(1, round(n * old / new))
        axes.append((torch.arange(n_new) - (n_new - 1) / 2) * new / old + (n - 1) / 2)
    return nearest_labels(labels, torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1))


def partial_volume(volume: torch.Tensor, neighbour: float) -> torch.Tensor:
    """Weigh each voxel with its two neighbours along every axis.

    With ``neighbour`` = 1/4 nothing is left at the Nyquist frequency, where the dipole of an
    oblique B0 would ring.
    """
    taps = torch.tensor([neighbour, 1 - 2 * neighbour, neighbour], device=volume.device)
    result = F.pad(volume[None, None], (1,) * 6, mode="replicate")
    for axis in range(3):
        shape = [1, 1, 1, 1, 1]
        shape[2 + axis] = 3
        result = F.conv3d(result, taps.reshape(shape))
    return result[0, 0]


def block_mean(volume: torch.Tensor, factor: int) -> torch.Tensor:
    """Mean over cubes of ``factor`` voxels: ``(x, y, z)`` to a grid that much coarser."""
    return F.avg_pool3d(volume[None], factor)[0] if factor > 1 else volume


def blurred(image: torch.Tensor, *sigma_voxels: float) -> torch.Tensor:
    """Gaussian blur, one width or one per axis."""
    sigmas: Sequence[float] = sigma_voxels * (3 if len(sigma_voxels) == 1 else 1)
    volume = image[None, None]
    for axis, sigma in enumerate(sigmas):
        radius = int(3 * sigma + 0.5)
        if radius == 0:
            continue
        place = torch.arange(-radius, radius + 1, device=image.device)
        taps = torch.exp(-(place**2) / (2 * sigma**2))
        shape, padding = [1, 1, 1, 1, 1], [0, 0, 0]
        shape[2 + axis], padding[axis] = len(taps), radius
        volume = F.conv3d(volume, (taps / taps.sum()).reshape(shape), padding=padding)
    return volume[0, 0]
