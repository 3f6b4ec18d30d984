"""Finite differences per millimetre on a periodic grid, and what methods of sparsity do to them."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from isdu_bids.physics.padding import along

Vector = Sequence[float]


def difference(volume: torch.Tensor, axis: int, size_mm: float) -> torch.Tensor:
    """Forward difference of a volume ``(x, y, z)`` along an axis, per mm."""
    return torch.roll(volume, -1, axis).sub_(volume).div_(size_mm)


def difference_adjoint(volume: torch.Tensor, axis: int, size_mm: float) -> torch.Tensor:
    """Adjoint of `difference`."""
    return torch.roll(volume, 1, axis).sub_(volume).div_(size_mm)


def gradient(volume: torch.Tensor, voxel_size_mm: Vector) -> torch.Tensor:
    """Forward differences ``(3, x, y, z)`` of a volume ``(x, y, z)``, per mm."""
    return torch.stack([difference(volume, a, size) for a, size in enumerate(voxel_size_mm)])


def gradient_adjoint(vectors: torch.Tensor, voxel_size_mm: Vector) -> torch.Tensor:
    """Adjoint of `gradient`, which is minus the divergence."""
    total = torch.zeros_like(vectors[0])
    for axis, size in enumerate(voxel_size_mm):
        total += difference_adjoint(vectors[axis], axis, size)
    return total


def squared_gradient(
    shape: Sequence[int], voxel_size_mm: Vector, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """Half spectrum of `gradient_adjoint` of `gradient`, which is minus the Laplacian, in 1/mm^2.

    ``sum_i |1 - exp(-i k_i)|^2 / size_i^2``, so it is zero at k = 0 only.
    """
    total = torch.zeros((), dtype=torch.float64)
    for axis, (n, size) in enumerate(zip(shape, voxel_size_mm, strict=True)):
        frequencies = (torch.fft.rfftfreq if axis == 2 else torch.fft.fftfreq)(
            n, dtype=torch.float64
        )
        total = total + along(4 * torch.sin(torch.pi * frequencies) ** 2 / size**2, axis)
    return total.to(device=device, dtype=torch.float32)


def soft_threshold(volume: torch.Tensor, threshold: torch.Tensor | float) -> torch.Tensor:
    """Shrink values towards zero: ``argmin_v |v - volume|^2 / 2 + threshold |v|``.

    Examples
    --------
    >>> soft_threshold(torch.tensor([-3.0, 0.5, 2.0]), 1.0).tolist()
    [-2.0, 0.0, 1.0]
    """
    limit = torch.as_tensor(threshold, device=volume.device)
    return torch.clamp(volume, -limit, limit).neg_().add_(volume)
