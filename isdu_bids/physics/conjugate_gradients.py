"""Weighted least squares over volumes by preconditioned conjugate gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch

Map = Callable[[torch.Tensor], torch.Tensor]


class Operator(Protocol):
    """Linear map between volumes, with its adjoint: ``<forward(x), y> = <x, adjoint(y)>``."""

    def forward(self, x: torch.Tensor, /) -> torch.Tensor:
        """Apply the map."""

    def adjoint(self, y: torch.Tensor, /) -> torch.Tensor:
        """Apply its adjoint."""


def least_squares(
    operator: Operator,
    data: torch.Tensor,
    *,
    weight: torch.Tensor | float = 1.0,
    damping: float = 0.0,
    preconditioner: Map = lambda residual: residual,
    tolerance: float,
    iterations: int,
) -> torch.Tensor:
    """Solve ``argmin_x |sqrt(weight) (A x - data)|^2 + damping |x|^2`` from x = 0.

    Parameters
    ----------
    operator
        A.
    data
        In the range of A.
    weight
        Of each value of the data, zero or positive.
    damping
        Weight of the solution's own size.
    preconditioner, tolerance, iterations
        As in `conjugate_gradients`, for the normal equations.
    """
    return conjugate_gradients(
        lambda x: operator.adjoint(weight * operator.forward(x)) + damping * x,
        operator.adjoint(weight * data),
        preconditioner=preconditioner,
        tolerance=tolerance,
        iterations=iterations,
    )


def conjugate_gradients(
    operator: Map,
    right_side: torch.Tensor,
    *,
    preconditioner: Map = lambda residual: residual,
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
