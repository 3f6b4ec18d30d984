"""The paper's loss (eq. 11): L1 + 0.5 gradient + 0.5 model, taken inside the mask."""

from __future__ import annotations

import torch

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
