"""What every background field removal takes in and hands out."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from isdu_bids.errors import DataError


@dataclass(frozen=True)
class LocalField:
    """The field of the sources inside the mask.

    Attributes
    ----------
    field_ppm
        float32, shape ``(x, y, z)``, ppm of B0; zero outside ``mask``.
    mask
        bool, the voxels where the local field is valid: a part of the mask that went in.
    """

    field_ppm: torch.Tensor
    mask: torch.Tensor


def masked_field(field_ppm: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Field less its mean in the mask, zero outside (whatever it held there, NaN included).

    A constant is background to every method; without it float32 has digits to spare for the rest.

    Raises
    ------
    DataError
        If shapes differ, the mask is empty, or the field is not finite somewhere inside it.
    """
    if field_ppm.shape != mask.shape or mask.ndim != 3:
        raise DataError(
            f"field {tuple(field_ppm.shape)} and mask {tuple(mask.shape)} must be one 3D grid; "
            "resample the mask to the field"
        )
    if not mask.any():
        raise DataError("the mask is empty; check the mask, or give one with --mask-pattern")
    inside = field_ppm[mask].double()
    if not torch.isfinite(inside).all():
        raise DataError(
            "the total field is not finite inside the mask; exclude those voxels from it"
        )
    return torch.where(mask, field_ppm.double() - inside.mean(), 0.0).float()


def valid_part(field_ppm: torch.Tensor, valid: torch.Tensor) -> LocalField:
    """Local field where it is valid, zero elsewhere."""
    return LocalField(torch.where(valid, field_ppm, 0.0), valid)
