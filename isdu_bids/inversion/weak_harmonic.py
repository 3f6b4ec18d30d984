"""Susceptibility and what background removal left behind, found together."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch

from isdu_bids.inversion.admm import FIELD_TIE, Copy, Sparse, relative_change
from isdu_bids.inversion.gradients import squared_gradient
from isdu_bids.inversion.misfits import Squares
from isdu_bids.inversion.problem import Inverted, Problem
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
    penalty_ppm_mm: float = 1e-4,
    harmonic_penalty: float = 150.0,
    tolerance: float = 5e-3,
    iterations: int = 100,
) -> Inverted:
    r"""Total variation with a harmonic remainder h of the background as a second unknown.

    ``argmin_x,h sum w (D x + h - y)^2 / 2 + penalty sum |grad x| + beta/2 sum_mask (lap h)^2``

    Inside the mask h is (nearly) harmonic, outside it is free, so it may be any field of sources
    outside. The Laplacian counts in voxels (of the mean edge), so beta has no unit.

    Parameters
    ----------
    field_ppm, mask, voxel_size_mm, b0_direction, magnitude, field_sd_ppm, penalty_ppm_mm
        As in `total_variation.tv`.
    harmonic_penalty
        Beta: how nearly harmonic h has to be.
    tolerance, iterations
        As in `total_variation.tv`.

    References
    ----------
    Milovic et al. 2019 (WH-QSM), doi:10.1002/mrm.27483.
    """
    problem = Problem.around(
        field_ppm, mask, voxel_size_mm, b0_direction, magnitude, field_sd_ppm
    )
    kernel, shape = problem.kernel, problem.window.shape
    mean_edge_mm = sum(voxel_size_mm) / 3
    laplacian = squared_gradient(shape, voxel_size_mm, mask.device) * mean_edge_mm**2
    beta = harmonic_penalty * problem.mask
    data = Copy(partial(Squares(problem), coupling=FIELD_TIE))
    curvature = Copy(lambda near: HARMONIC_TIE / (HARMONIC_TIE + beta) * near)
    sparse = Sparse(problem, penalty_ppm_mm)
    # The normal equations of (x, h) at each frequency are 2 x 2; h is eliminated first.
    of_harmonic = FIELD_TIE + HARMONIC_TIE * laplacian**2
    shared = FIELD_TIE * kernel / of_harmonic
    of_chi = FIELD_TIE * kernel**2 + sparse.normal - shared * FIELD_TIE * kernel
    x = field = curved = torch.zeros_like(problem.mask)
    change = torch.inf
    for done in range(1, iterations + 1):
        field_k = FIELD_TIE * spectrum(data.pull(field))
        right_h = field_k + HARMONIC_TIE * laplacian * spectrum(curvature.pull(curved))
        x_k = (kernel * field_k + spectrum(sparse.pull(x)) - shared * right_h) / of_chi
        h_k = right_h / of_harmonic - shared * x_k
        previous, x = x, from_spectrum(x_k, shape)
        change = relative_change(x, previous)
        if change < tolerance:
            break
        field = from_spectrum(kernel * x_k + h_k, shape)
        curved = from_spectrum(laplacian * h_k, shape)
    return problem.inverted(x, done, change)
