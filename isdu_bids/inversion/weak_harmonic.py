"""Susceptibility and what background removal left behind, found together."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from isdu_bids.inversion.admm import FIELD_TIE, Copy, Sparse
from isdu_bids.inversion.gradients import squared_gradient
from isdu_bids.inversion.misfits import Squares
from isdu_bids.inversion.problem import Problem, iterate
from isdu_bids.inversion.result import Inverted
from isdu_bids.physics.dipole import from_spectrum, spectrum

Vector = Sequence[float]

#: Strength of the tie between the Laplacian of the harmonic field (in voxels of the mean edge) and
#: its copy. It sets the pace, not the result.
HARMONIC_TIE = 3.0


def weak_harmonic(
    field_ppm: torch.Tensor,
    mask: torch.Tensor,
    *,
    voxel_size_mm: Vector,
    b0_direction: Vector,
    magnitude: torch.Tensor | None = None,
    field_sd_ppm: torch.Tensor | None = None,
    penalty: float,
    harmonic_penalty: float,
    tolerance: float,
    iterations: int,
) -> Inverted:
    r"""Total variation with a harmonic remainder h of the background as a second unknown.

    ``argmin_x,h sum w (D x + h - y)^2 / 2 + penalty sum |grad x| + beta/2 sum_mask (lap h)^2``

    Inside the mask h is (nearly) harmonic, outside it is free, so it may be any field of sources
    outside, where x is zero. The Laplacian counts in voxels (of the mean edge): beta has no unit.

    Parameters
    ----------
    field_ppm, mask, voxel_size_mm, b0_direction, magnitude, field_sd_ppm, penalty
        As in `total_variation.tv`.
    harmonic_penalty
        Beta: how nearly harmonic h has to be.
    tolerance, iterations
        As in `total_variation.tv`.

    References
    ----------
    Milovic et al. 2019 (WH-QSM), doi:10.1002/mrm.27483.
    """
    problem = Problem.around(field_ppm, mask, voxel_size_mm, b0_direction, magnitude, field_sd_ppm)
    kernel, shape = problem.kernel, problem.window.shape
    mean_edge_mm = sum(voxel_size_mm) / 3
    laplacian = squared_gradient(shape, voxel_size_mm, mask.device) * mean_edge_mm**2
    beta = harmonic_penalty * problem.mask
    misfit = Squares(problem)
    data = Copy(lambda field: misfit(field, FIELD_TIE))
    curvature = Copy(lambda near: HARMONIC_TIE / (HARMONIC_TIE + beta) * near)
    sparse = Sparse(problem, penalty, math.inf)
    # The normal equations of (x, h) at each frequency are 2 x 2; h is eliminated first.
    of_harmonic = FIELD_TIE + HARMONIC_TIE * laplacian**2
    shared = FIELD_TIE * kernel / of_harmonic
    of_chi = FIELD_TIE * kernel**2 + sparse.normal - shared * FIELD_TIE * kernel

    def step(unknowns_k: torch.Tensor) -> torch.Tensor:
        x_k, h_k = unknowns_k
        field = from_spectrum(kernel * x_k + h_k, shape)
        curved = from_spectrum(laplacian * h_k, shape)
        field_k = FIELD_TIE * spectrum(data.pull(field))
        right_h = field_k + HARMONIC_TIE * laplacian * spectrum(curvature.pull(curved))
        pulled_k = spectrum(sparse.pull(from_spectrum(x_k, shape)))
        x_k = (kernel * field_k + pulled_k - shared * right_h) / of_chi
        return torch.stack([x_k, right_h / of_harmonic - shared * x_k])

    start = torch.zeros((2, *kernel.shape), dtype=torch.complex64, device=kernel.device)
    unknowns_k, taken, change = iterate(step, start, tolerance, iterations)
    return problem.inverted(unknowns_k[0], taken, change)
