"""How much of the local field the map explains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from isdu_bids.physics.dipole import forward_field
from isdu_bids.physics.padding import mask_box


def dipole_residual_percent(
    chi_ppm: npt.NDArray[Any],
    local_field_ppm: npt.NDArray[Any],
    mask: npt.NDArray[np.bool_],
    voxel_size_mm: Sequence[float],
    b0_direction: Sequence[float],
) -> float:
    r"""Part of the local field in the mask that the map does not explain.

    ``100 * min_{a,b} ||f - D(m chi) - a D m - b|| / ||f - mean f||`` inside the mask m. Neither the
    reference of the map (a) nor a constant of the field (b) is observable, so both are fitted.

    Returns
    -------
    float
        Percent; NaN for an empty mask, a constant field or one that is not finite there.
    """
    if not mask.any():
        return float("nan")
    box = mask_box(torch.from_numpy(mask))
    inside = mask[box]
    sources = np.stack([np.where(inside, chi_ppm[box], 0), inside]).astype(np.float32)
    fields = forward_field(torch.from_numpy(sources), voxel_size_mm, b0_direction).numpy()
    field, field_of_chi, field_of_mask = (
        values[inside].astype(np.float64) for values in (local_field_ppm[box], *fields)
    )
    unexplained, spread = field - field_of_chi, field.std()
    if not np.isfinite(unexplained).all() or spread == 0:
        return float("nan")
    shape = field_of_mask - field_of_mask.mean()
    unexplained -= unexplained.mean()
    unexplained -= shape * (shape @ unexplained) / max(shape @ shape, np.finfo(float).tiny)
    return float(100 * unexplained.std() / spread)
