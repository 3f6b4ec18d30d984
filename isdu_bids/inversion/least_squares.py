"""Least squares in closed form, with a weight that the noise of the field can choose."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from isdu_bids.inversion.gradients import squared_gradient
from isdu_bids.inversion.problem import Problem
from isdu_bids.physics.dipole import spectrum
from isdu_bids.physics.power import multiplicity

Vector = Sequence[float]

#: Weight of the smoothness where nothing is known of the noise.
WEIGHT_MM2 = 1e-2
#: Weights (mm^2) that noise may choose between. What no susceptibility explains, a remainder of the
#: background say, asks for ever less smoothness, in vain: hence the lower one.
_LOW, _HIGH = 3e-3, 10.0
_HALVINGS = 24


def tikhonov(
    field_ppm: torch.Tensor,
    mask: torch.Tensor,
    *,
    voxel_size_mm: Vector,
    b0_direction: Vector,
    field_sd_ppm: torch.Tensor | None = None,
    weight: float | None,
) -> torch.Tensor:
    r"""Smoothest susceptibility that explains the field as well as its noise allows.

    ``argmin_x |D x - y|^2 + weight |grad x|^2 = F^-1 [D F y / (D^2 + weight |F grad|^2)]``

    Without a weight, but with the field's standard deviation, it is the weight at which the misfit
    is as large as the noise (discrepancy principle); with neither it is 0.01 mm^2.

    Parameters
    ----------
    field_ppm, mask, voxel_size_mm, b0_direction
        As in `total_variation.tv`; the field counts as zero outside the mask.
    field_sd_ppm
        Standard deviation of the field.
    weight
        Weight of the squared gradient (ppm/mm) against squared errors (ppm).

    References
    ----------
    Bilgic et al. 2014, doi:10.1002/jmri.24365; Morozov 1966 (discrepancy principle).
    """
    problem = Problem.around(field_ppm, mask, voxel_size_mm, b0_direction)
    field_k = spectrum(problem.field_ppm)
    roughness = squared_gradient(problem.window.shape, voxel_size_mm, mask.device)
    roughness[0, 0, 0] = 1.0  # the mean is unobservable
    if weight is None:
        weight = WEIGHT_MM2
        if field_sd_ppm is not None:
            sd = field_sd_ppm[mask.bool() & torch.isfinite(field_sd_ppm)]
            variance = float(sd.double().square().mean()) * float(problem.mask.sum())
            weight = weight_by_discrepancy(field_k, problem, roughness, variance)
    chi_k = problem.kernel * field_k / (problem.kernel**2 + weight * roughness)
    return problem.inverted(chi_k).chi_ppm


def weight_by_discrepancy(
    field_k: torch.Tensor, problem: Problem, roughness: torch.Tensor, noise_ppm2: float
) -> float:
    """Weight at which the squared misfit of `tikhonov` equals the summed variance of the noise.

    The misfit grows with the weight, so halving the interval (of logarithms) finds it.
    """
    power = field_k.abs().square()
    power[0, 0, 0] = 0.0  # no weight explains the mean
    power *= multiplicity(problem.window.shape).to(power.device)
    power /= math.prod(problem.window.shape)
    squared_kernel = problem.kernel**2
    low, high = math.log(_LOW), math.log(_HIGH)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        penalty = math.exp(middle) * roughness
        misfit = ((penalty / (squared_kernel + penalty)) ** 2 * power).sum(dtype=torch.float64)
        low, high = (middle, high) if float(misfit) < noise_ppm2 else (low, middle)
    return math.exp((low + high) / 2)


def tsvd(
    field_ppm: torch.Tensor,
    mask: torch.Tensor,
    *,
    voxel_size_mm: Vector,
    b0_direction: Vector,
    threshold: float,
) -> torch.Tensor:
    r"""Divide where the kernel is not small: ``F^-1 [F y / D]`` where ``|D| > threshold``, else 0.

    Parameters
    ----------
    field_ppm, mask, voxel_size_mm, b0_direction
        As in `tikhonov`.
    threshold
        Least size of the dipole kernel (at most 2/3) at which the field is used.

    References
    ----------
    Wharton et al. 2010, doi:10.1002/mrm.22334.
    """
    problem = Problem.around(field_ppm, mask, voxel_size_mm, b0_direction)
    kept = problem.kernel.abs() > threshold
    inverse = torch.where(kept, 1 / problem.kernel, 0.0)
    return problem.inverted(inverse * spectrum(problem.field_ppm)).chi_ppm
