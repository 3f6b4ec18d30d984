"""Inversions with a sparse gradient, which differ in how they count the misfit of the field."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from isdu_bids.inversion.admm import sparse_gradients
from isdu_bids.inversion.gradients import gradient
from isdu_bids.inversion.misfits import TYPICAL_RESIDUAL_PPM, Absolutes, Phasors, Squares
from isdu_bids.inversion.problem import Problem
from isdu_bids.inversion.result import Inverted
from isdu_bids.units import rad_per_ppm

Vector = Sequence[float]


def tv(
    field_ppm: torch.Tensor,
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
    r"""Total variation: ``argmin_x sum w (D x - y)^2 / 2 + penalty sum |grad x|``.

    The field has no weight outside the mask, and sources there are dear (`admm.OUTSIDE_PENALTY`).

    Parameters
    ----------
    field_ppm, mask
        Local field and where it is valid, ``(x, y, z)``, on the device to compute on.
    voxel_size_mm, b0_direction
        Geometry in voxel axes.
    magnitude, field_sd_ppm
        What weights the field, see `problem.variance_weight`; both may be left out.
    penalty
        Weight of the absolute gradient (ppm/mm) against squared errors (ppm).
    tolerance, iterations
        Where to stop: relative change of the map in a step, number of steps.

    References
    ----------
    Bilgic et al. 2014, doi:10.1002/mrm.25029; Milovic et al. 2018 (weights by a copy of the
    field), doi:10.1002/mrm.27073.
    """
    problem = Problem.around(field_ppm, mask, voxel_size_mm, b0_direction, magnitude, field_sd_ppm)
    misfit = Squares(problem)
    return sparse_gradients(problem, misfit, penalty, tolerance, iterations)


def nltv(
    field_ppm: torch.Tensor,
    mask: torch.Tensor,
    *,
    voxel_size_mm: Vector,
    b0_direction: Vector,
    field_strength_t: float,
    echo_times_s: Vector,
    magnitude: torch.Tensor | None = None,
    field_sd_ppm: torch.Tensor | None = None,
    penalty: float,
    tolerance: float,
    iterations: int,
) -> Inverted:
    r"""Total variation with a nonlinear misfit, as in FANSI: leftover wraps do not count.

    ``argmin_x sum w |exp(i s D x) - exp(i s y)|^2 / (2 s^2) + penalty sum |grad x|``

    Parameters
    ----------
    field_ppm, mask, voxel_size_mm, b0_direction, magnitude, field_sd_ppm, penalty
        As in `tv`.
    field_strength_t, echo_times_s
        Give s, the phase in rad that one ppm builds up until the mean echo time.
    tolerance, iterations
        As in `tv`.

    References
    ----------
    Milovic et al. 2018, doi:10.1002/mrm.27073.
    """
    problem = Problem.around(field_ppm, mask, voxel_size_mm, b0_direction, magnitude, field_sd_ppm)
    misfit = Phasors(problem, mean_rad_per_ppm(field_strength_t, echo_times_s))
    return sparse_gradients(problem, misfit, penalty, tolerance, iterations)


def medi(
    field_ppm: torch.Tensor,
    mask: torch.Tensor,
    *,
    voxel_size_mm: Vector,
    b0_direction: Vector,
    field_strength_t: float,
    echo_times_s: Vector,
    magnitude: torch.Tensor,
    field_sd_ppm: torch.Tensor | None = None,
    penalty: float,
    edge_fraction: float,
    tolerance: float,
    iterations: int,
) -> Inverted:
    r"""Morphology-enabled dipole inversion: edges of the magnitude may be edges of chi.

    ``argmin_x sum w |exp(i s D x) - exp(i s y)|^2 / (2 s^2) + penalty sum |m grad x|`` with m = 0
    where the magnitude has its steepest differences. The published functional, minimised by
    alternating directions instead of Gauss-Newton steps.

    Parameters
    ----------
    field_ppm, mask, voxel_size_mm, b0_direction, field_strength_t, echo_times_s, penalty
        As in `nltv`.
    magnitude
        Its edges are looked for, and without ``field_sd_ppm`` it weights the field.
    field_sd_ppm, tolerance, iterations
        As in `tv`.
    edge_fraction
        Share of the mask's differences that count as edges.

    References
    ----------
    Liu et al. 2012, doi:10.1016/j.neuroimage.2011.08.082; Liu et al. 2013 (nonlinear),
    doi:10.1002/mrm.24272.
    """
    problem = Problem.around(field_ppm, mask, voxel_size_mm, b0_direction, magnitude, field_sd_ppm)
    misfit = Phasors(problem, mean_rad_per_ppm(field_strength_t, echo_times_s))
    flat = ~edges(problem.window.cut(magnitude.float()) * problem.mask, problem, edge_fraction)
    return sparse_gradients(problem, misfit, penalty * flat, tolerance, iterations)


def edges(magnitude: torch.Tensor, problem: Problem, fraction: float) -> torch.Tensor:
    """Where the magnitude differs most from the next voxel's, ``(3, x, y, z)``."""
    steepness = gradient(magnitude, problem.voxel_size_mm).abs()
    inside = steepness[:, problem.mask > 0].flatten()
    n_flat = round((1 - fraction) * (len(inside) - 1))
    return steepness > inside.sort().values[n_flat]


def l1(
    field_ppm: torch.Tensor,
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
    r"""Total variation with an absolute misfit, which bad voxels do not dominate.

    ``argmin_x sum sqrt(w) |D x - y| + penalty sum |grad x|``

    Parameters
    ----------
    field_ppm, mask, voxel_size_mm, b0_direction, magnitude, field_sd_ppm, tolerance, iterations
        As in `tv`.
    penalty
        Weight of the absolute gradient (ppm/mm) against absolute errors (ppm).

    References
    ----------
    Milovic et al. 2022 (L1-QSM), doi:10.1002/mrm.28957.
    """
    problem = Problem.around(field_ppm, mask, voxel_size_mm, b0_direction, magnitude, field_sd_ppm)
    penalty = TYPICAL_RESIDUAL_PPM * penalty
    return sparse_gradients(problem, Absolutes(problem), penalty, tolerance, iterations)


def mean_rad_per_ppm(field_strength_t: float, echo_times_s: Vector) -> float:
    """Phase (rad) that one ppm of B0 builds up until the mean echo time."""
    return rad_per_ppm(field_strength_t, sum(echo_times_s) / len(echo_times_s))
