"""Total field inversion: the susceptibility inside and the sources outside, found at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from isdu_bids.inversion.admm import sparse_gradients
from isdu_bids.inversion.misfits import Squares
from isdu_bids.inversion.problem import Problem
from isdu_bids.inversion.result import Inverted

Vector = Sequence[float]


def tfi(
    total_field_ppm: torch.Tensor,
    mask: torch.Tensor,
    *,
    voxel_size_mm: Vector,
    b0_direction: Vector,
    magnitude: torch.Tensor | None = None,
    field_sd_ppm: torch.Tensor | None = None,
    penalty: float,
    tolerance: float,
    iterations: int,
) -> Inverted:
    r"""Total field inversion; no background removal before it.

    ``argmin_x sum w (D x - y)^2 / 2 + penalty sum_mask |grad x|``, x free outside the mask

    The article solves this by conjugate gradients, with a preconditioner that lets the strong
    sources outside grow fast; in alternating directions loose ties do the same.

    Parameters
    ----------
    total_field_ppm, mask
        Field before background removal and where it is valid, ``(x, y, z)``.
    voxel_size_mm, b0_direction, magnitude, field_sd_ppm, penalty, tolerance, iterations
        As in `total_variation.tv`.

    References
    ----------
    Liu et al. 2017, doi:10.1002/mrm.26331.
    """
    problem = Problem.around(
        total_field_ppm, mask, voxel_size_mm, b0_direction, magnitude, field_sd_ppm
    )
    both_inside = [problem.mask * torch.roll(problem.mask, -1, axis) for axis in range(3)]
    inside = penalty * torch.stack(both_inside)
    return sparse_gradients(
        problem, Squares(problem), inside, tolerance, iterations, outside_penalty=0.0
    )
