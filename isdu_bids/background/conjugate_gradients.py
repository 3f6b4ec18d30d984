"""Preconditioned conjugate gradients for symmetric positive operators on volumes."""

from __future__ import annotations

from collections.abc import Callable

import torch

Operator = Callable[[torch.Tensor], torch.Tensor]


def conjugate_gradients(
    operator: Operator,
    right_side: torch.Tensor,
    *,
    preconditioner: Operator = lambda residual: residual,
    tolerance: float,
    iterations: int,
) -> torch.Tensor:
    """Solve ``operator(x) = right_side`` from x = 0.

    Stops when the residual has shrunk to ``tolerance`` of its first length (both measured in the
    preconditioner's norm) or after ``iterations``. Volumes are float32; scalar products are summed
    in float64, because over 10^7 voxels float32 loses the digits that keep directions conjugate.
    """
    x = torch.zeros_like(right_side)
    residual = right_side.clone()
    z = preconditioner(residual)
    direction = z.clone()
    length = first = _dot(residual, z)
    for _ in range(iterations):
        if not length > tolerance**2 * first:
            break
        image = operator(direction)
        step = (length / _dot(direction, image)).float()
        x += step * direction
        residual -= step * image
        z = preconditioner(residual)
        previous, length = length, _dot(residual, z)
        direction = z + (length / previous).float() * direction
    return x


def _dot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a * b).sum(dtype=torch.float64)
