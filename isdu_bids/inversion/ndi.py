"""Nonlinear dipole inversion: gradient descent, regularised by stopping early."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from isdu_bids.inversion.misfits import Phasors
from isdu_bids.inversion.problem import Problem, iterate
from isdu_bids.inversion.result import Inverted
from isdu_bids.inversion.total_variation import mean_rad_per_ppm
from isdu_bids.physics.dipole import convolve

Vector = Sequence[float]

#: Largest square of the dipole kernel: the curvature of ``|D x - y|^2 / 2``.
STEEPEST = 4 / 9


def ndi(
    field_ppm: torch.Tensor,
    mask: torch.Tensor,
    *,
    voxel_size_mm: Vector,
    b0_direction: Vector,
    field_strength_t: float,
    echo_times_s: Vector,
    magnitude: torch.Tensor | None = None,
    field_sd_ppm: torch.Tensor | None = None,
    iterations: int,
    damping: float,
) -> Inverted:
    r"""Nonlinear dipole inversion: ``sum w |exp(i s D x) - exp(i s y)|^2 / (2 s^2)`` goes down.

    Every step is the longest that cannot overshoot, ``x <- x - (9/4) / max w * gradient``. Few
    steps smooth, many amplify noise. Unlike in the article x stays zero outside the mask.

    Parameters
    ----------
    field_ppm, mask, voxel_size_mm, b0_direction, magnitude, field_sd_ppm
        As in `total_variation.tv`.
    field_strength_t, echo_times_s
        Give s, the phase in rad that one ppm builds up until the mean echo time. With s -> 0 the
        method is linear.
    iterations
        Steps taken: it does not run until it converges.
    damping
        Tikhonov weight of the susceptibility itself.

    References
    ----------
    Polak et al. 2020, doi:10.1002/nbm.4271.
    """
    problem = Problem.around(field_ppm, mask, voxel_size_mm, b0_direction, magnitude, field_sd_ppm)
    misfit = Phasors(problem, mean_rad_per_ppm(field_strength_t, echo_times_s))
    length = 1 / (STEEPEST * float(problem.weight.max()) + damping)

    def step(x: torch.Tensor) -> torch.Tensor:
        slope = convolve(misfit.slope(convolve(x, problem.kernel)), problem.kernel)
        return (x - length * (slope + damping * x)) * problem.mask

    return problem.inverted(*iterate(step, torch.zeros_like(problem.mask), 0.0, iterations))
