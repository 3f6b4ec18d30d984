"""Dipole inversions with a closed form in k-space."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from isdu_bids.physics.dipole import dipole_kernel
from isdu_bids.physics.padding import fast_shape, mask_box, pad_to

#: Zero field kept around the mask against wrap-around of the dipole's tails.
MARGIN_MM = 24.0


def tkd(
    field_ppm: torch.Tensor,
    mask: torch.Tensor,
    *,
    voxel_size_mm: Sequence[float],
    b0_direction: Sequence[float],
    threshold: float,
) -> torch.Tensor:
    r"""Thresholded k-space division.

    ``chi = F^-1 [F y / D_t]`` with ``D_t = D`` where ``|D| > t`` and ``t sign(D)`` elsewhere; the
    result is divided by the mean of ``D / D_t``, which corrects the systematic underestimation.

    References
    ----------
    Shmueli et al. 2009, doi:10.1002/mrm.22135; Schweser et al. 2013, doi:10.1002/mrm.24405.
    """

    def inverse(kernel: torch.Tensor) -> torch.Tensor:
        truncated = torch.where(kernel < 0, -threshold, threshold)
        weight = torch.where(kernel.abs() > threshold, 1 / kernel, 1 / truncated)
        return weight / _spectrum_mean(kernel * weight)

    return _filtered(field_ppm, mask, voxel_size_mm, b0_direction, inverse)


def _spectrum_mean(half: torch.Tensor) -> torch.Tensor:
    """Mean over the whole spectrum of an even kernel given as half of it (even last axis)."""
    inner = half[..., 1:-1].double().sum()
    edges = half[..., 0].double().sum() + half[..., -1].double().sum()
    n = half.shape[0] * half.shape[1] * 2 * (half.shape[2] - 1)
    return ((2 * inner + edges) / n).float()


def l2(
    field_ppm: torch.Tensor,
    mask: torch.Tensor,
    *,
    voxel_size_mm: Sequence[float],
    b0_direction: Sequence[float],
    weight: float,
) -> torch.Tensor:
    r"""Smoothest susceptibility that explains the field: gradient-regularised least squares.

    ``argmin ||D x - y||^2 + w ||grad x||^2  =  F^-1 [D F y / (D^2 + w sum_i |1 - e^(-i k_i)|^2)]``

    The differences are taken per millimetre, so the weight means the same at any voxel size.

    References
    ----------
    Bilgic et al. 2014, doi:10.1002/jmri.24365.
    """

    def inverse_for(shape: Sequence[int], device: torch.device) -> torch.Tensor:
        total = torch.zeros((), device=device)
        for axis, (n, size) in enumerate(zip(shape, voxel_size_mm, strict=True)):
            frequency = (torch.fft.rfftfreq if axis == 2 else torch.fft.fftfreq)(n, device=device)
            difference = (2 - 2 * torch.cos(2 * torch.pi * frequency)) / size**2
            total = total + difference.reshape([-1 if a == axis else 1 for a in range(3)])
        return total

    def inverse(kernel: torch.Tensor) -> torch.Tensor:
        shape = (*kernel.shape[:2], 2 * (kernel.shape[2] - 1))
        penalty = weight * inverse_for(shape, kernel.device)
        penalty[0, 0, 0] = 1.0  # the mean is unobservable
        return kernel / (kernel**2 + penalty)

    return _filtered(field_ppm, mask, voxel_size_mm, b0_direction, inverse)


def _filtered(
    field_ppm: torch.Tensor,
    mask: torch.Tensor,
    voxel_size_mm: Sequence[float],
    b0_direction: Sequence[float],
    inverse: Callable[[torch.Tensor], torch.Tensor],
) -> torch.Tensor:
    """Apply a k-space filter made from the dipole kernel, on the padded box of the mask."""
    box = mask_box(mask)
    inside = mask[box]
    field = field_ppm[box].float() * inside
    margin = [round(MARGIN_MM / size) for size in voxel_size_mm]
    shape = fast_shape([n + m for n, m in zip(field.shape, margin, strict=True)])
    kernel = dipole_kernel(shape, voxel_size_mm, b0_direction, device=field.device)
    spectrum = torch.fft.rfftn(pad_to(field, shape)) * inverse(kernel)
    chi = torch.fft.irfftn(spectrum, s=shape)
    x, y, z = field.shape
    result = torch.zeros_like(field_ppm, dtype=torch.float32)
    result[box] = chi[:x, :y, :z] * inside
    return result
