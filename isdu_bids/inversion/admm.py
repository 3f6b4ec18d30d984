"""Sparse gradients under any misfit, by the alternating direction method of multipliers.

The methods of this kind minimise ``misfit(D x) + sum |penalty * grad x|`` over susceptibilities x
that are zero outside the mask. Copies ``D x``, ``grad x`` and ``x`` take these three apart: then x
has a closed form in k-space, and every copy one voxel by voxel.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from isdu_bids.inversion.gradients import (
    difference,
    difference_adjoint,
    soft_threshold,
    squared_gradient,
)
from isdu_bids.inversion.problem import Inverted, Problem
from isdu_bids.physics.dipole import from_spectrum, spectrum

#: ``argmin_z misfit(z) + coupling / 2 |z - near|^2``, as a function of near and coupling.
Misfit = Callable[[torch.Tensor, float], torch.Tensor]

# Strengths of the ties between the unknowns and their copies. They set the pace, not the result.
FIELD_TIE = 0.3
SUPPORT_TIE = 0.01
#: Of the gradient, as the slope (ppm/mm) that one step shrinks away.
SHRUNK_PPM_PER_MM = 0.01


class Copy:
    """Copy of a linear map of the unknown, with the multiplier that pulls the two together.

    Parameters
    ----------
    closest
        Proximal map of what the copy has to obey: the best copy near a value.
    """

    def __init__(self, closest: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self.closest = closest
        self.multiplier: torch.Tensor | float = 0.0

    def pull(self, value: torch.Tensor) -> torch.Tensor:
        """Renew copy and multiplier; return what the map of the next unknown should equal."""
        value = value + self.multiplier
        copy = self.closest(value)
        self.multiplier = value - copy
        return copy - self.multiplier


class Sparse:
    """Ties of the susceptibility itself: sparse gradient, and nothing outside the mask.

    Attributes
    ----------
    normal
        Half spectrum of their quadratic form.
    """

    def __init__(self, problem: Problem, penalty: torch.Tensor | float) -> None:
        per_axis = torch.as_tensor(penalty, device=problem.mask.device).expand(
            3, *problem.window.shape
        )
        self.sizes = problem.voxel_size_mm
        self.tie = float(per_axis.amax()) / SHRUNK_PPM_PER_MM
        self.slopes = [
            Copy(partial(soft_threshold, threshold=axis / self.tie)) for axis in per_axis
        ]
        self.support = Copy(lambda x: x * problem.mask)
        squared = squared_gradient(problem.window.shape, self.sizes, problem.mask.device)
        self.normal = self.tie * squared + SUPPORT_TIE

    def pull(self, x: torch.Tensor) -> torch.Tensor:
        """Right-hand side that goes with `normal`."""
        total = SUPPORT_TIE * self.support.pull(x)
        for axis, (slope, size) in enumerate(zip(self.slopes, self.sizes, strict=True)):
            pulled = slope.pull(difference(x, axis, size))
            total.add_(difference_adjoint(pulled, axis, size), alpha=self.tie)
        return total


def sparse_gradients(
    problem: Problem,
    misfit: Misfit,
    penalty: torch.Tensor | float,
    tolerance: float,
    iterations: int,
) -> Inverted:
    """Solve ``argmin_x misfit(D x) + sum |penalty * grad x|`` with x = 0 outside the mask.

    Parameters
    ----------
    problem
        Field, weights and geometry.
    misfit
        Proximal map of the misfit.
    penalty
        Of the absolute gradient: one number, or a volume per axis ``(3, x, y, z)``; ppm mm.
    tolerance, iterations
        Where to stop: relative change of x, number of steps.
    """
    kernel, shape = problem.kernel, problem.window.shape
    data, sparse = Copy(partial(misfit, coupling=FIELD_TIE)), Sparse(problem, penalty)
    normal = FIELD_TIE * kernel**2 + sparse.normal
    x = field = torch.zeros_like(problem.mask)
    change = torch.inf
    for done in range(1, iterations + 1):
        right = FIELD_TIE * kernel * spectrum(data.pull(field)) + spectrum(sparse.pull(x))
        x_k = right / normal
        previous, x = x, from_spectrum(x_k, shape)
        change = relative_change(x, previous)
        if change < tolerance:
            break
        field = from_spectrum(kernel * x_k, shape)
    return problem.inverted(x, done, change)


def relative_change(x: torch.Tensor, previous: torch.Tensor) -> float:
    """Size of a step relative to where it leads; 0 for a step from 0 to 0."""
    return float((x - previous).norm() / x.norm().clamp(min=torch.finfo(x.dtype).tiny))
