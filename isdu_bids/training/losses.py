"""The losses: that of the paper's code, and the default, inside the mask and free of scale."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from isdu_bids.physics.dipole import convolve


def susceptibility_loss(
    chi_ppm: torch.Tensor,
    target_ppm: torch.Tensor,
    mask: torch.Tensor,
    kernel: torch.Tensor,
    *,
    gradient_weight: float = 0.5,
    model_weight: float = 0.5,
) -> torch.Tensor:
    """Error of a susceptibility map relative to the mean |target|, dimensionless.

    ``(mean|e| + w_g mean|grad e| + w_m mean|D e|) / mean|target|`` with ``e = chi - target``,
    means over the mask. Dividing by the target's size lets every patch count alike.
    The model term compares fields; with the target's own field in place of the measured one it
    does not punish the network for removing noise.

    Parameters
    ----------
    chi_ppm, target_ppm, mask
        ``(batch, 1, x, y, z)``.
    kernel
        Half-spectrum dipole kernel of each sample.
    """
    error = (chi_ppm - target_ppm) * mask
    n_voxels = mask.sum().clamp(min=1)
    size = (target_ppm.abs().sum() / n_voxels).clamp(min=1e-4)
    loss = error.abs().sum()
    for axis in (-3, -2, -1):
        loss = loss + gradient_weight * torch.diff(error, dim=axis).abs().sum()
    loss = loss + model_weight * (convolve(error, kernel) * mask).abs().sum()
    return loss / n_voxels / size


def paper_loss(
    chi_ppm: torch.Tensor,
    target_ppm: torch.Tensor,
    mask: torch.Tensor,
    kernel: torch.Tensor,
    field_ppm: torch.Tensor,
    *,
    gradient_weight: float = 0.5,
    model_weight: float = 0.5,
) -> torch.Tensor:
    """Eq. 11 of the ISDU-QSMNet paper as its code computes it, in ppm.

    ``mean|chi - y| + w_g mean|Sobel (chi - y)| + w_m mean|m b - m D chi|``: means over the whole
    patch, background included; Sobel filters that are not normalised, so that this term dominates;
    the measured field b, periodic on the patch, so that even the truth is punished a little.

    Parameters
    ----------
    chi_ppm, target_ppm, mask
        ``(batch, 1, x, y, z)``; chi and target are zero outside the mask.
    kernel
        Half-spectrum dipole kernel of each sample.
    field_ppm
        Measured local field, same shape.
    """
    error = chi_ppm - target_ppm
    mismatch = mask * (field_ppm - convolve(chi_ppm, kernel))
    return (
        error.abs().mean()
        + gradient_weight * sobel(error).abs().mean()
        + model_weight * mismatch.abs().mean()
    )


def sobel(volume: torch.Tensor) -> torch.Tensor:
    """Sobel derivatives ``(batch, 3, x, y, z)`` of ``(batch, 1, x, y, z)``, zero-padded.

    ``[1 2 1] x [1 2 1] x [-1 0 1]`` without normalisation: a slope of 1 per voxel gives 32.
    """
    smooth = volume.new_tensor([1.0, 2.0, 1.0])
    slope = volume.new_tensor([-1.0, 0.0, 1.0])
    taps = [[slope if axis == along else smooth for axis in range(3)] for along in range(3)]
    kernels = torch.stack([torch.einsum("i,j,k->ijk", *three) for three in taps])
    return F.conv3d(volume, kernels[:, None], padding=1)
