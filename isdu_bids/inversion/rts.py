"""Rapid two-step inversion: what the field determines well, then total variation for the rest."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from isdu_bids.inversion.admm import Sparse
from isdu_bids.inversion.problem import Problem, iterate
from isdu_bids.inversion.result import Inverted
from isdu_bids.physics.conjugate_gradients import conjugate_gradients
from isdu_bids.physics.dipole import convolve, from_spectrum, spectrum

Vector = Sequence[float]

#: Strength by which the second step keeps what the first found.
KEPT = 1e5


def rts(
    field_ppm: torch.Tensor,
    mask: torch.Tensor,
    *,
    voxel_size_mm: Vector,
    b0_direction: Vector,
    magnitude: torch.Tensor | None = None,
    field_sd_ppm: torch.Tensor | None = None,
    threshold: float,
    first_iterations: int,
    tolerance: float,
    iterations: int,
) -> Inverted:
    r"""Rapid two-step inversion.

    A few conjugate-gradient steps on ``sum w (D x - y)^2`` settle the frequencies at which
    ``|D| > threshold``; the others are then those of the least total variation.

    Parameters
    ----------
    field_ppm, mask, voxel_size_mm, b0_direction, magnitude, field_sd_ppm
        As in `total_variation.tv`.
    threshold
        Least size of the dipole kernel (at most 2/3) at which the first step is trusted.
    first_iterations
        Steps of the first inversion: more resolve more, and amplify more noise.
    tolerance, iterations
        Where the second step stops: relative change of the map in a step, number of steps.

    References
    ----------
    Kames et al. 2018, doi:10.1016/j.neuroimage.2017.11.018.
    """
    problem = Problem.around(field_ppm, mask, voxel_size_mm, b0_direction, magnitude, field_sd_ppm)
    kernel, shape = problem.kernel, problem.window.shape
    first = conjugate_gradients(
        lambda x: problem.mask * convolve(problem.weight * convolve(x, kernel), kernel),
        problem.mask * convolve(problem.weight * problem.field_ppm, kernel),
        tolerance=0.0,
        iterations=first_iterations,
    )
    kept = KEPT * (kernel.abs() > threshold)
    kept_k = kept * spectrum(first)
    sparse = Sparse(problem, 1.0, math.inf)

    def step(x_k: torch.Tensor) -> torch.Tensor:
        pulled = sparse.pull(from_spectrum(x_k, shape))
        return (kept_k + spectrum(pulled)) / (kept + sparse.normal)

    return problem.inverted(*iterate(step, spectrum(first), tolerance, iterations))
