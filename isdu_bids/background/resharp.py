"""RESHARP: SHARP's deconvolution as a regularised least-squares problem."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from isdu_bids.background.conjugate_gradients import conjugate_gradients
from isdu_bids.background.local_field import LocalField, in_volume, masked_field
from isdu_bids.background.sharp import fitting_radii
from isdu_bids.physics.dipole import convolve
from isdu_bids.physics.padding import fast_shape, mask_box, pad_to
from isdu_bids.physics.sphere import depth_mm, kernel_spectrum, sphere

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
    box = mask_box(mask)
    field, inside = masked_field(field_ppm, mask)[box], mask[box]
    depth = depth_mm(inside, voxel_size_mm, radius_mm)
    (radius,) = fitting_radii(depth, voxel_size_mm, (radius_mm,))
    valid = depth > radius
    shape = fast_shape(field.shape)
    fits = pad_to(valid.float(), shape)
    high_pass = 1 - kernel_spectrum(sphere(voxel_size_mm, radius).to(field), shape)

    def normal(x: torch.Tensor) -> torch.Tensor:
        return convolve(fits * convolve(x, high_pass), high_pass)

    solution = conjugate_gradients(
        lambda x: normal(x) + weight * x,
        normal(pad_to(field, shape)),
        preconditioner=lambda x: convolve(x, 1 / (high_pass**2 + weight)),
        tolerance=tolerance,
        iterations=iterations,
    )
    x, y, z = field.shape
    return in_volume(solution[:x, :y, :z], valid, box, mask)
