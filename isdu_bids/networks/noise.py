"""What a network with noise input is told of the errors of a field."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from isdu_bids.physics.cone import cone_noise_ppm


def model_error_ppm(
    field_ppm: torch.Tensor,
    mask: torch.Tensor,
    field_sd_ppm: torch.Tensor | None = None,
    *,
    voxel_size_mm: Sequence[float],
    b0_direction: Sequence[float],
) -> float:
    """Error of a local field that its own standard deviation does not account for.

    ``sqrt(max(0, n^2 - mean sd^2))`` with the noise n seen on the zero cone
    (`isdu_bids.physics.cone`): what phase noise does not explain and no susceptibility can.

    Parameters
    ----------
    field_ppm, mask, voxel_size_mm, b0_direction
        Local field, where it is valid, and the geometry.
    field_sd_ppm
        Its standard deviation by phase noise; none where it is not known.
    """
    seen = cone_noise_ppm(field_ppm, mask, voxel_size_mm=voxel_size_mm, b0_direction=b0_direction)
    inside = mask.bool()
    known = 0.0
    if field_sd_ppm is not None and bool(inside.any()):
        known = float(field_sd_ppm[inside].square().mean())
    return max(0.0, seen**2 - known) ** 0.5


def total_sd_ppm(
    field_ppm: torch.Tensor, field_sd_ppm: torch.Tensor | float | None, model_error_ppm: float
) -> torch.Tensor:
    """Map of phase noise and model error together, of the shape of the field."""
    noise = torch.as_tensor(0.0 if field_sd_ppm is None else field_sd_ppm, device=field_ppm.device)
    return (noise.float().square() + model_error_ppm**2).sqrt().expand_as(field_ppm)
