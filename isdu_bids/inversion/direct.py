"""Dipole inversions with a closed form in k-space."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from isdu_bids.physics.dipole import convolve, dipole_kernel
from isdu_bids.physics.padding import along
from isdu_bids.physics.window import Window, in_voxels

#: Zero field kept around the mask against wrap-around of the dipole's tails.
MARGIN_MM = 24.0

#: Dipole kernel below which a coefficient lies on the zero cone; rounding would decide its sign.
ON_CONE = 1e-6


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
    Coefficients on the zero cone, where D is 0 but for rounding, were not measured and stay 0.

    References
    ----------
    Shmueli et al. 2009, doi:10.1002/mrm.22135; Schweser et al. 2013, doi:10.1002/mrm.24405.
    """

    def inverse(kernel: torch.Tensor) -> torch.Tensor:
        sign = torch.where(kernel.abs() > ON_CONE, kernel.sign(), 0.0)
        weight = torch.where(kernel.abs() > threshold, 1 / kernel, sign / threshold)
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
            total = total + along(difference, axis)
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
    window = Window.around(mask, in_voxels(MARGIN_MM, voxel_size_mm))
    field = window.cut(torch.where(mask.bool(), field_ppm.float(), 0.0))
    kernel = dipole_kernel(window.shape, voxel_size_mm, b0_direction, device=field.device)
    return window.put_back(convolve(field, inverse(kernel))) * mask
