"""SHARP and V-SHARP: what is left of a field after its spherical mean, deconvolved.

The background field is harmonic inside the mask, so it equals its own mean over any sphere that
fits. Field minus mean is therefore local; dividing by ``1 - S`` in k-space restores the local
field.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from isdu_bids.background.local_field import LocalField, masked_field, valid_part
from isdu_bids.errors import DataError
from isdu_bids.physics.dipole import convolve, from_spectrum, spectrum
from isdu_bids.physics.sphere import depth_mm, fits, kernel_spectrum, sphere
from isdu_bids.physics.window import Window, in_voxels

Vector = Sequence[float]


def vsharp(
    field_ppm: torch.Tensor,
    mask: torch.Tensor,
    *,
    voxel_size_mm: Vector,
    radii_mm: Sequence[float],
    threshold: float,
) -> LocalField:
    r"""V-SHARP: at every voxel the largest sphere that fits, one deconvolution with the largest.

    ``local = F^-1 [ F(sum_r M_r (f - S_r * f)) / (1 - S_max) ]``, where ``M_r`` holds the voxels
    in which r is the largest radius that fits, and the quotient is 0 where ``|1 - S_max|`` is at
    most ``threshold``.

    Parameters
    ----------
    field_ppm, mask
        Total field, shape ``(x, y, z)``, and where it can be trusted.
    voxel_size_mm
        Voxel edge lengths.
    radii_mm
        Radii to try. Those below the largest voxel edge are left out: they hold no sphere.
    threshold
        Truncation of the deconvolution, dimensionless.

    Raises
    ------
    DataError
        If no sphere fits into the mask.

    References
    ----------
    Li et al. 2011, doi:10.1016/j.neuroimage.2010.11.088; Wu et al. 2012, doi:10.1002/mrm.23000.
    """
    field = masked_field(field_ppm, mask)
    depth = depth_mm(mask, voxel_size_mm, max(radii_mm))
    radii = fitting_radii(depth, voxel_size_mm, radii_mm)
    window = Window.around(mask, in_voxels(2 * radii[0], voxel_size_mm))
    depth_there, field_k = window.cut(depth), spectrum(window.cut(field))
    remainder = torch.zeros_like(depth_there)
    larger = torch.inf
    for radius in radii:
        high_pass = 1 - kernel_spectrum(sphere(voxel_size_mm, radius).to(field), window.shape)
        ring = fits(depth_there, radius) & ~fits(depth_there, larger)
        remainder[ring] = from_spectrum(field_k * high_pass, window.shape)[ring]
        larger = radius
        if radius == radii[0]:
            inverse = torch.where(high_pass.abs() > threshold, 1 / high_pass, 0.0)
    return valid_part(window.put_back(convolve(remainder, inverse)), fits(depth, radii[-1]))


def sharp(
    field_ppm: torch.Tensor,
    mask: torch.Tensor,
    *,
    voxel_size_mm: Vector,
    radius_mm: float,
    threshold: float,
) -> LocalField:
    """SHARP: V-SHARP with a single radius, which the mask loses at its rim.

    References
    ----------
    Schweser et al. 2011, doi:10.1016/j.neuroimage.2010.10.070.
    """
    return vsharp(
        field_ppm,
        mask,
        voxel_size_mm=voxel_size_mm,
        radii_mm=(radius_mm,),
        threshold=threshold,
    )


def fitting_radii(
    depth: torch.Tensor, voxel_size_mm: Vector, radii_mm: Sequence[float]
) -> list[float]:
    """Radii, descending, that span a voxel along every axis and fit somewhere into the mask."""
    widest = max(voxel_size_mm)
    spanning = [r for r in sorted(radii_mm, reverse=True) if r >= widest * (1 - 1e-6)]
    radii = [r for r in spanning if fits(depth, r).any()]
    if not radii:
        raise DataError(
            f"no sphere of {min(radii_mm):g} to {max(radii_mm):g} mm fits between voxels of "
            f"{widest:g} mm and a mask {float(depth.max()):.3g} mm deep; check the mask or give "
            "other radii"
        )
    return radii
