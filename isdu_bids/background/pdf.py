"""PDF: project the field onto the fields of dipoles outside the mask."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from isdu_bids.background.conjugate_gradients import conjugate_gradients
from isdu_bids.background.local_field import LocalField, in_volume, masked_field
from isdu_bids.physics.dipole import convolve, dipole_kernel
from isdu_bids.physics.padding import fast_shape, mask_box, pad_to

Vector = Sequence[float]


def pdf(
    field_ppm: torch.Tensor,
    mask: torch.Tensor,
    *,
    voxel_size_mm: Vector,
    b0_direction: Vector,
    field_sd_ppm: torch.Tensor | None = None,
    margin_mm: float,
    tolerance: float,
    iterations: int,
) -> LocalField:
    r"""Projection onto dipole fields.

    ``argmin_chi ||W (f - D chi)||^2`` over susceptibilities chi outside the mask, W = 1 /
    ``field_sd_ppm`` inside; the local field is ``f - D chi``. It rests on dipole fields from
    outside being nearly orthogonal to those from inside. Stopping early regularises.

    Parameters
    ----------
    field_ppm, mask
        Total field, shape ``(x, y, z)``, and where it can be trusted.
    voxel_size_mm, b0_direction
        Voxel edge lengths; unit vector of B0 along the voxel axes.
    field_sd_ppm
        Standard deviation of the field, same shape, positive in the mask; equal everywhere
        if not given.
    margin_mm
        Room for sources around the mask. The grid is periodic: what lies beyond comes back from
        the other side, which is as harmonic inside the mask as any other source.
    tolerance, iterations
        Where the solver stops: relative residual, number of steps.

    References
    ----------
    Liu et al. 2011, doi:10.1002/nbm.1670.
    """
    margin = [round(margin_mm / size) for size in voxel_size_mm]
    box = mask_box(mask)
    field, inside = masked_field(field_ppm, mask)[box], mask[box]
    shape = fast_shape([n + extra for n, extra in zip(field.shape, margin, strict=True)])
    outside = 1 - pad_to(inside.float(), shape)
    weight = pad_to(squared_weights(field_sd_ppm, mask)[box], shape)
    # With 1/3 at k = 0, as in a sphere of Lorentz, a sum of sources can explain a constant field.
    kernel = dipole_kernel(shape, voxel_size_mm, b0_direction, dc_value=1 / 3, device=field.device)
    field = pad_to(field, shape)
    sources = conjugate_gradients(
        lambda chi: outside * convolve(weight * convolve(chi, kernel), kernel),
        outside * convolve(weight * field, kernel),
        tolerance=tolerance,
        iterations=iterations,
    )
    x, y, z = inside.shape
    return in_volume((field - convolve(sources, kernel))[:x, :y, :z], inside, box, mask)


def squared_weights(field_sd_ppm: torch.Tensor | None, mask: torch.Tensor) -> torch.Tensor:
    """Inverse variance, 1 where the field is as certain as in the mask's median, 0 outside."""
    if field_sd_ppm is None:
        return mask.float()
    sd = field_sd_ppm[mask]
    return torch.where(mask, (sd.median() / field_sd_ppm) ** 2, 0.0).float()
