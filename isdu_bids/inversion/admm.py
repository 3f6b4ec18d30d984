"""Sparse gradients under any misfit, by the alternating direction method of multipliers.

The methods of this kind minimise ``misfit(D x) + sum |penalty * grad x|`` and a penalty of sources
outside the mask. Copies of ``D x``, ``grad x`` and ``x`` take these three apart: then x has a
closed form in k-space, and every copy one voxel by voxel.
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
from isdu_bids.inversion.problem import Problem, iterate
from isdu_bids.inversion.result import Inverted
from isdu_bids.physics.dipole import from_spectrum, spectrum

#: ``argmin_z misfit(z) + coupling / 2 |z - near|^2``, as a function of near and coupling.
Misfit = Callable[[torch.Tensor, float], torch.Tensor]

# Strengths of the ties between the unknowns and their copies. They set the pace, not the result.
#: Of the field, relative to the mean weight of the data; and of the susceptibility.
FIELD_TIE, SUPPORT_TIE = 0.3, 0.01
#: The same where sources outside are looked for: strong ones, which loose ties let grow fast.
LOOSE_FIELD_TIE, LOOSE_SUPPORT_TIE = 0.03, 0.001
#: Of the gradient, as the slope (ppm/mm) that one step shrinks away.
SHRUNK_PPM_PER_MM = 0.01

#: Weight of squared sources outside the mask against squared errors of the field. A local field has
#: none, but what background removal leaves does: so they are allowed, at a price.
OUTSIDE_PENALTY = 1e-3


class Copy:
    """Copy of a linear map of the unknown, with the multiplier that pulls the two together.

    Parameters
    ----------
    closest
        Proximal map of what the copy has to obey: the best copy near a value, a new tensor.
    """

    def __init__(self, closest: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self.closest = closest
        self.multiplier: torch.Tensor | float = 0.0

    def pull(self, value: torch.Tensor) -> torch.Tensor:
        """Renew copy and multiplier; return what the map of the next unknown should equal."""
        value = value + self.multiplier
        copy = self.closest(value)
        self.multiplier = value.sub_(copy)
        return copy.sub_(self.multiplier)


class Sparse:
    """Ties of the susceptibility itself: sparse gradient, and little outside the mask.

    Parameters
    ----------
    problem
        Mask and geometry.
    penalty
        As in `sparse_gradients`.
    outside_penalty
        Weight of squared sources outside the mask: infinite forbids them, 0 sets them free.

    Attributes
    ----------
    normal
        Half spectrum of their quadratic form.
    """

    def __init__(
        self, problem: Problem, penalty: torch.Tensor | float, outside_penalty: float
    ) -> None:
        per_axis = penalty if isinstance(penalty, torch.Tensor) else torch.full((3,), penalty)
        self.sizes = problem.voxel_size_mm
        self.tie = float(per_axis.amax()) / SHRUNK_PPM_PER_MM
        self.slopes = [Copy(partial(soft_threshold, threshold=p / self.tie)) for p in per_axis]
        self.support_tie = SUPPORT_TIE if outside_penalty else LOOSE_SUPPORT_TIE
        left_outside = self.support_tie / (self.support_tie + outside_penalty)
        left = torch.where(problem.mask > 0, 1.0, left_outside)
        self.support = Copy(lambda x: x * left)
        squared = squared_gradient(problem.window.shape, self.sizes, problem.mask.device)
        self.normal = self.tie * squared + self.support_tie

    def pull(self, x: torch.Tensor) -> torch.Tensor:
        """Right-hand side that goes with `normal`."""
        total = self.support.pull(x).mul_(self.support_tie)
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
    outside_penalty: float = OUTSIDE_PENALTY,
) -> Inverted:
    """Solve ``argmin_x misfit(D x) + sum |penalty grad x| + outside_penalty / 2 sum_outside x^2``.

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
    outside_penalty
        Weight of squared sources outside the mask: infinite forbids them, 0 sets them free.
    """
    kernel, shape = problem.kernel, problem.window.shape
    tie = FIELD_TIE if outside_penalty else LOOSE_FIELD_TIE
    data = Copy(lambda field: misfit(field, tie))
    sparse = Sparse(problem, penalty, outside_penalty)
    tied_kernel = tie * kernel
    normal = tied_kernel * kernel + sparse.normal

    def step(x_k: torch.Tensor) -> torch.Tensor:
        field, x = from_spectrum(kernel * x_k, shape), from_spectrum(x_k, shape)
        right = spectrum(data.pull(field)).mul_(tied_kernel).add_(spectrum(sparse.pull(x)))
        return right.div_(normal)

    return problem.inverted(*iterate(step, torch.zeros_like(normal) + 0j, tolerance, iterations))
