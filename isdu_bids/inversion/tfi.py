"""Total field inversion: the susceptibility inside and the sources outside, found at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from isdu_bids.inversion.admm import relative_change
from isdu_bids.inversion.gradients import gradient, gradient_adjoint
from isdu_bids.inversion.problem import Inverted, Problem
from isdu_bids.physics.conjugate_gradients import conjugate_gradients
from isdu_bids.physics.dipole import convolve

Vector = Sequence[float]

#: Gradient below which the penalty is a square instead of an absolute value.
ROUNDED_PPM_PER_MM = 1e-3


def tfi(
    total_field_ppm: torch.Tensor,
    mask: torch.Tensor,
    *,
    voxel_size_mm: Vector,
    b0_direction: Vector,
    magnitude: torch.Tensor | None = None,
    field_sd_ppm: torch.Tensor | None = None,
    penalty_ppm_mm: float = 1e-4,
    outside_scale: float = 30.0,
    tolerance: float = 1e-2,
    iterations: int = 8,
    inner_iterations: int = 20,
) -> Inverted:
    r"""Preconditioned total field inversion; no background removal before it.

    ``argmin_x sum w (D P x - y)^2 / 2 + penalty sum_mask |grad P x|``, ``chi = P x``

    P is 1 in the mask and large outside, where sources (air, bone) are strong, so that conjugate
    gradients find those as fast. Gauss-Newton steps turn the absolute value into squares.

    Parameters
    ----------
    total_field_ppm, mask
        Field before background removal and where it is valid, ``(x, y, z)``.
    voxel_size_mm, b0_direction, magnitude, field_sd_ppm, penalty_ppm_mm
        As in `total_variation.tv`.
    outside_scale
        P outside the mask.
    tolerance, iterations
        Where to stop: relative change of the map in a Gauss-Newton step, number of such steps.
    inner_iterations
        Conjugate-gradient steps in each.

    References
    ----------
    Liu et al. 2017, doi:10.1002/mrm.26331.
    """
    problem = Problem.around(
        total_field_ppm, mask, voxel_size_mm, b0_direction, magnitude, field_sd_ppm
    )
    inside = problem.mask
    scale = torch.where(inside > 0, 1.0, outside_scale)
    both_inside = torch.stack([inside * torch.roll(inside, -1, axis) for axis in range(3)])

    def field_of(x: torch.Tensor) -> torch.Tensor:
        return convolve(scale * x, problem.kernel)

    def back(residual: torch.Tensor) -> torch.Tensor:
        return scale * convolve(problem.weight * residual, problem.kernel)

    x = torch.zeros_like(inside)
    change = torch.inf
    for done in range(1, iterations + 1):
        slopes = both_inside * gradient(scale * x, voxel_size_mm)
        share = penalty_ppm_mm * both_inside / (slopes**2 + ROUNDED_PPM_PER_MM**2).sqrt()

        def penalised(y: torch.Tensor, share: torch.Tensor = share) -> torch.Tensor:
            differences = share * gradient(scale * y, voxel_size_mm)
            return scale * gradient_adjoint(differences, voxel_size_mm)

        def normal(y: torch.Tensor, penalised: Callable = penalised) -> torch.Tensor:
            return back(field_of(y)) + penalised(y)

        step = conjugate_gradients(
            normal,
            back(problem.field_ppm - field_of(x)) - penalised(x),
            tolerance=tolerance,
            iterations=inner_iterations,
        )
        previous, x = x, x + step
        change = relative_change(x * inside, previous * inside)
        if change < tolerance:
            break
    return problem.inverted(scale * x, done, change)
