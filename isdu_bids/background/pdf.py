"""PDF: project the field onto the fields of dipoles outside the mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from isdu_bids.background.conjugate_gradients import least_squares
from isdu_bids.background.local_field import LocalField, masked_field, valid_part
from isdu_bids.physics.dipole import convolve, dipole_kernel
from isdu_bids.physics.window import Window, in_voxels

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
    window = Window.around(mask, in_voxels(margin_mm, voxel_size_mm))
    field = window.cut(masked_field(field_ppm, mask))
    # With 1/3 at k = 0, as in a sphere of Lorentz, a sum of sources can explain a constant field.
    kernel = dipole_kernel(
        window.shape, voxel_size_mm, b0_direction, dc_value=1 / 3, device=field.device
    )
    dipoles = DipolesOutside(kernel, 1 - window.cut(mask.float()))
    sources = least_squares(
        dipoles,
        field,
        weight=window.cut(squared_weights(field_sd_ppm, mask)),
        tolerance=tolerance,
        iterations=iterations,
    )
    return valid_part(window.put_back(field - dipoles.forward(sources)), mask)


@dataclass(frozen=True)
class DipolesOutside:
    """Field of susceptibility outside a mask: ``D M chi``, M one outside and zero inside."""

    kernel: torch.Tensor
    outside: torch.Tensor

    def forward(self, chi: torch.Tensor) -> torch.Tensor:
        """Field of the sources."""
        return convolve(self.outside * chi, self.kernel)

    def adjoint(self, field: torch.Tensor) -> torch.Tensor:
        """``M D field``."""
        return self.outside * convolve(field, self.kernel)


def squared_weights(field_sd_ppm: torch.Tensor | None, mask: torch.Tensor) -> torch.Tensor:
    """Inverse variance, 1 where the field is as certain as in the mask's median, 0 outside."""
    if field_sd_ppm is None:
        return mask.float()
    sd = field_sd_ppm[mask]
    return torch.where(mask, (sd.median() / field_sd_ppm) ** 2, 0.0).float()
