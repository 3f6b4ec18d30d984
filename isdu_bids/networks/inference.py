"""Susceptibility of a whole volume by a trained ISDU-QSMNet."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import torch

from isdu_bids.networks.weights import DEFAULT_WEIGHTS, Weights, load_weights
from isdu_bids.physics.dipole import dipole_kernel
from isdu_bids.physics.padding import fast_shape, mask_box, pad_to

#: Voxels of zero field kept around the mask: room for the denoiser's view and against wrap-around.
MARGIN_VOXELS = 8


@torch.inference_mode()
def isdu(
    field_ppm: torch.Tensor,
    mask: torch.Tensor,
    *,
    voxel_size_mm: Sequence[float],
    b0_direction: Sequence[float],
    weights: str | Path | Weights = DEFAULT_WEIGHTS,
) -> torch.Tensor:
    """Invert a local field with ISDU-QSMNet.

    The volume is cropped to the mask and a margin, and runs at its own resolution and orientation
    with the dipole kernel of its voxel size and B0 direction.

    Parameters
    ----------
    field_ppm, mask
        Local field (ppm) and where it is valid, ``(x, y, z)``, on the device to compute on.
    voxel_size_mm, b0_direction
        Geometry in voxel axes.
    weights
        Loaded weights, a packaged name or a path.

    Returns
    -------
    torch.Tensor
        chi in ppm, zero outside the mask. Its mean is set by the network and carries no meaning:
        reference it.
    """
    network = (weights if isinstance(weights, Weights) else cached_weights(str(weights))).network
    network = network.to(field_ppm.device)
    box = mask_box(mask, (MARGIN_VOXELS,) * 3)
    inside = mask[box].float()
    field = field_ppm[box].float() * inside
    shape = fast_shape([n + MARGIN_VOXELS for n in field.shape])
    kernel = dipole_kernel(
        shape,
        voxel_size_mm,
        b0_direction,
        dc_value=network.architecture.dc_value,
        device=field.device,
    )
    chi = network(pad_to(field, shape)[None, None], pad_to(inside, shape)[None, None], kernel)
    x, y, z = field.shape
    result = torch.zeros_like(field_ppm, dtype=torch.float32)
    result[box] = chi[0, 0, :x, :y, :z]
    return result


@lru_cache(maxsize=2)
def cached_weights(name_or_path: str, iterations: int | None = None) -> Weights:
    """Load weights once per process: several scans of a worker share a network."""
    return load_weights(name_or_path, iterations=iterations)
