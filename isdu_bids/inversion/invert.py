"""From a local field in any unit to susceptibility, in one call on arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from isdu_bids.errors import DataError, UsageError
from isdu_bids.geometry import unit_vector
from isdu_bids.inversion.registry import DEFAULT, INVERSION
from isdu_bids.networks.inference import check_finite
from isdu_bids.physics.device import run_on
from isdu_bids.units import units_per_ppm


def invert(
    field: npt.ArrayLike,
    mask: npt.ArrayLike,
    *,
    voxel_size_mm: Sequence[float],
    b0_direction: Sequence[float] = (0.0, 0.0, 1.0),
    method: str = DEFAULT,
    unit: str = "ppm",
    field_strength_t: float | None = None,
    echo_time_s: float | None = None,
    device: str = "auto",
    **parameters: Any,
) -> npt.NDArray[np.float32]:
    """Susceptibility of a local field, referenced to the mean over the mask.

    Parameters
    ----------
    field, mask
        Local field and where it is valid, ``(x, y, z)``.
    voxel_size_mm, b0_direction
        Voxel edges, and B0 along the voxel axes.
    method
        ``isdu``, or another name of `isdu_bids.inversion.registry.INVERSION`.
    unit
        ``ppm`` of B0, ``hz`` (needs ``field_strength_t``) or ``rad`` of phase (and
        ``echo_time_s``), positive where the field is stronger.
    field_strength_t, echo_time_s
        For the units that need them.
    device
        ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    parameters
        Of the method, for instance ``weights="isdu_k4"`` or ``threshold=0.15``.

    Returns
    -------
    numpy.ndarray
        chi in ppm, float32, zero outside the mask.

    Raises
    ------
    DataError
        If shapes differ, the mask is empty, or the field is not finite inside it.
    UsageError
        For an unknown method or unit, or one whose scale is not given.

    Examples
    --------
    >>> import numpy as np
    >>> field = np.zeros((8, 8, 8))
    >>> chi = invert(field, field == 0, voxel_size_mm=(1, 1, 1), method="tkd")
    >>> chi.shape, float(abs(chi).max())
    ((8, 8, 8), 0.0)
    """
    if method not in INVERSION:
        raise UsageError(f"method {method!r} is unknown; known are {', '.join(INVERSION)}")
    inside = np.asarray(mask) > 0
    scale = np.float32(units_per_ppm(unit, field_strength_t, echo_time_s))
    field_ppm = np.asarray(field, dtype=np.float32) / scale
    if field_ppm.shape != inside.shape or field_ppm.ndim != 3:
        raise DataError(f"field {field_ppm.shape} and mask {inside.shape} must be equal and 3D")
    if not inside.any():
        raise DataError("the mask is empty")
    check_finite(torch.from_numpy(field_ppm), torch.from_numpy(inside))

    def compute(device: torch.device) -> torch.Tensor:
        return INVERSION[method](
            torch.from_numpy(np.where(inside, field_ppm, 0)).to(device),
            torch.from_numpy(inside).to(device),
            voxel_size_mm=tuple(float(size) for size in voxel_size_mm),
            b0_direction=unit_vector(b0_direction),
            **parameters,
        ).cpu()

    chi = run_on(device, compute)[0].numpy()
    chi = chi - chi[inside].mean(dtype=np.float64)
    return np.where(inside, chi, 0).astype(np.float32)
