"""From a local field in any unit to susceptibility, in one call on arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from isdu_bids.errors import DataError
from isdu_bids.geometry import unit_vector
from isdu_bids.inversion.registry import INVERSION, VOLUMES
from isdu_bids.inversion.result import Inverted
from isdu_bids.networks.inference import check_finite
from isdu_bids.physics.device import run_on
from isdu_bids.units import units_per_ppm


def invert(
    field: npt.ArrayLike,
    mask: npt.ArrayLike,
    *,
    voxel_size_mm: Sequence[float],
    b0_direction: Sequence[float] = (0.0, 0.0, 1.0),
    method: str = str(INVERSION.default),
    unit: str = "ppm",
    field_strength_t: float | None = None,
    echo_time_s: float | None = None,
    volumes: Mapping[str, npt.ArrayLike] | None = None,
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
        ``isdu``, or another name of `isdu_bids.inversion.registry.INVERSION`, with parameters:
        ``tkd:threshold=0.15``.
    unit
        ``ppm`` of B0, ``hz`` (needs ``field_strength_t``) or ``rad`` of phase (and
        ``echo_time_s``), positive where the field is stronger.
    field_strength_t, echo_time_s
        For the units that need them.
    volumes
        What else the method takes, by the names of `isdu_bids.inversion.registry.VOLUMES`. A
        method of the total field takes that as ``field``.
    device
        ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    parameters
        Of the method, as keywords: ``weights="isdu_ms3"``.

    Returns
    -------
    numpy.ndarray
        chi in ppm, float32, zero outside the mask.

    Raises
    ------
    DataError
        If shapes differ, the mask is empty, the field is not finite inside it, or a volume that
        the method needs is missing.
    UsageError
        For an unknown method, parameter or unit, or one whose scale is not given.

    Examples
    --------
    >>> import numpy as np
    >>> field = np.zeros((8, 8, 8))
    >>> chi = invert(field, field == 0, voxel_size_mm=(1, 1, 1), method="tkd")
    >>> chi.shape, float(abs(chi).max())
    ((8, 8, 8), 0.0)
    """
    choice = INVERSION.parse(method)
    chosen = INVERSION[choice.name]
    inside = np.asarray(mask) > 0
    scale = np.float32(units_per_ppm(unit, field_strength_t, echo_time_s))
    field_ppm = np.asarray(field, dtype=np.float32) / scale
    if field_ppm.shape != inside.shape or field_ppm.ndim != 3:
        raise DataError(f"field {field_ppm.shape} and mask {inside.shape} must be equal and 3D")
    if not inside.any():
        raise DataError("the mask is empty")
    check_finite(torch.from_numpy(field_ppm), torch.from_numpy(inside))
    clean = np.where(inside, field_ppm, 0)
    arrays = {"field_ppm": clean, "total_field_ppm": clean, "mask": inside}
    arrays |= {name: np.asarray(volume, np.float32) for name, volume in (volumes or {}).items()}
    wanted = {name: arrays[name] for name in chosen.takes(VOLUMES) if name in arrays}
    for name, array in wanted.items():
        if array.shape != inside.shape:
            raise DataError(f"{name} {array.shape} and mask {inside.shape} must be equal")
    scalars = {
        "voxel_size_mm": tuple(float(size) for size in voxel_size_mm),
        "b0_direction": unit_vector(b0_direction),
        "field_strength_t": field_strength_t,
        "echo_times_s": None if echo_time_s is None else (echo_time_s,),
    }
    tensors = {name: torch.from_numpy(array) for name, array in wanted.items()}
    ready = chosen.prepared({**choice.parameters, **parameters}, {**tensors, **scalars})

    def compute(device: torch.device) -> torch.Tensor:
        moved = {name: tensor.to(device) for name, tensor in tensors.items()}
        return Inverted.of(chosen.run({**moved, **scalars}, **ready.parameters)).chi_ppm.cpu()

    chi = run_on(device, compute)[0].numpy()
    chi = chi - chi[inside].mean(dtype=np.float64)
    return np.where(inside, chi, 0).astype(np.float32)
