"""RESHARP: SHARP's deconvolution as a regularised least-squares problem."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from isdu_bids.background.conjugate_gradients import least_squares
from isdu_bids.background.local_field import LocalField, masked_field, valid_part
from isdu_bids.background.sharp import fitting_radii
from isdu_bids.physics.dipole import convolve
from isdu_bids.physics.sphere import depth_mm, fits, kernel_spectrum, sphere
from isdu_bids.physics.window import Window

Vector = Sequence[float]


def resharp(
    field_ppm: torch.Tensor,
    mask: torch.Tensor,
    *,
    voxel_size_mm: Vector,
    radius_mm: float,
    weight: float,
    tolerance: float,
    iterations: int,
) -> LocalField:
    r"""RESHARP: the smallest field that leaves the same remainder after spherical means.

    ``argmin_u ||M (1 - S) (u - f)||^2 + weight ||u||^2`` with M the voxels in which the sphere
    fits, by conjugate gradients preconditioned with the closed form for M = 1.

    Parameters
    ----------
    field_ppm, mask
        Total field, shape ``(x, y, z)``, and where it can be trusted.
    voxel_size_mm
        Voxel edge lengths.
    radius_mm
        Radius of the sphere; the mask loses as much at its rim.
    weight
        Tikhonov weight of the local field, dimensionless.
    tolerance, iterations
        Where the solver stops: relative residual, number of steps.

    Raises
    ------
    DataError
        If the sphere fits nowhere into the mask.

    References
    ----------
    Sun & Wilman 2014, doi:10.1002/mrm.24765.
    """
    field = masked_field(field_ppm, mask)
    depth = depth_mm(mask, voxel_size_mm, radius_mm)
    (radius,) = fitting_radii(depth, voxel_size_mm, (radius_mm,))
    valid = fits(depth, radius)
    window = Window.around(mask)
    high_pass = 1 - kernel_spectrum(sphere(voxel_size_mm, radius).to(field), window.shape)
    remainder = Remainder(high_pass, window.cut(valid.float()))
    solution = least_squares(
        remainder,
        remainder.forward(window.cut(field)),
        damping=weight,
        preconditioner=lambda x: convolve(x, 1 / (high_pass**2 + weight)),
        tolerance=tolerance,
        iterations=iterations,
    )
    return valid_part(window.put_back(solution), valid)


@dataclass(frozen=True)
class Remainder:
    """What spherical means leave of a field where the sphere fits: ``M (1 - S) f``."""

    high_pass: torch.Tensor
    valid: torch.Tensor

    def forward(self, field: torch.Tensor) -> torch.Tensor:
        """Field less its spherical mean, zero where the sphere does not fit."""
        return self.valid * convolve(field, self.high_pass)

    def adjoint(self, remainder: torch.Tensor) -> torch.Tensor:
        """``(1 - S) M remainder``."""
        return convolve(self.valid * remainder, self.high_pass)
