"""What models leave unexplained: of the local field by the map, of the phase by the field."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from isdu_bids.physics.dipole import forward_field
from isdu_bids.physics.padding import mask_box
from isdu_bids.units import ppm_to_hz

Volume = npt.NDArray[Any]


def dipole_residual_percent(
    chi_ppm: Volume,
    local_field_ppm: Volume,
    mask: npt.NDArray[np.bool_],
    voxel_size_mm: Sequence[float],
    b0_direction: Sequence[float],
) -> float:
    """Part of the local field in the mask that the map does not explain.

    ``100 * ||unexplained_field|| / ||f - mean f||`` inside the mask.

    Returns
    -------
    float
        Percent; NaN for an empty mask, a constant field or one that is not finite there.
    """
    if not mask.any():
        return float("nan")
    maps = chi_ppm, local_field_ppm, mask
    unexplained = unexplained_field_ppm(*maps, voxel_size_mm, b0_direction)[mask]
    spread = local_field_ppm[mask].astype(np.float64).std()
    if not np.isfinite(unexplained).all() or spread == 0:
        return float("nan")
    return float(100 * unexplained.std() / spread)


def unexplained_field_ppm(
    chi_ppm: Volume,
    local_field_ppm: Volume,
    mask: npt.NDArray[np.bool_],
    voxel_size_mm: Sequence[float],
    b0_direction: Sequence[float],
) -> Volume:
    r"""Local field less that of the map, in the mask m; NaN elsewhere.

    ``f - D(m chi) - a D m - b``. Neither the reference of the map (a) nor a constant of the field
    (b) is observable, so both are fitted.
    """
    unexplained = np.full(mask.shape, np.nan)
    if not mask.any():
        return unexplained
    box = mask_box(torch.from_numpy(mask))
    inside = mask[box]
    sources = np.stack([np.where(inside, chi_ppm[box], 0), inside]).astype(np.float32)
    fields = forward_field(torch.from_numpy(sources), voxel_size_mm, b0_direction).numpy()
    field, field_of_chi, field_of_mask = (
        values[inside].astype(np.float64) for values in (local_field_ppm[box], *fields)
    )
    difference = field - field_of_chi
    shape = field_of_mask - field_of_mask.mean()
    difference -= difference.mean()
    difference -= shape * (shape @ difference) / max(shape @ shape, np.finfo(float).tiny)
    unexplained[mask] = difference
    return unexplained


def fit_residual_rad(
    unwrapped_rad: Volume,
    total_field_ppm: Volume,
    echo_times_s: Sequence[float],
    field_strength_t: float,
) -> Volume:
    """Root mean square, over the echoes, of phase less what the field predicts: ``(x, y, z)``.

    Whole turns that an echo is off everywhere are no error.
    """
    field_hz = ppm_to_hz(total_field_ppm, field_strength_t)
    known = np.isfinite(unwrapped_rad).all(axis=0) & np.isfinite(field_hz) & (field_hz != 0)
    squares = np.zeros(field_hz.shape)
    for phase, te in zip(unwrapped_rad, echo_times_s, strict=True):
        residual = phase - 2 * np.pi * te * field_hz
        if known.any():
            residual = residual - 2 * np.pi * np.round(np.median(residual[known]) / (2 * np.pi))
        squares += residual**2
    return np.asarray(np.sqrt(squares / len(echo_times_s)))
