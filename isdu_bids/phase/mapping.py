"""From wrapped phase to the total field: the one entry for a scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from isdu_bids.phase.combination import COMBINATION
from isdu_bids.phase.offsets import bipolar_offset, phase_offset
from isdu_bids.phase.romeo import voxel_quality
from isdu_bids.phase.unwrapping import UNWRAPPING
from isdu_bids.phase.wrapping import BoolArray, FloatArray, wrap

Offset = Literal["auto", "monopolar", "bipolar", "none"]


@dataclass(frozen=True)
class FieldMap:
    """Total field of a scan and what it rests on; volumes are 0 outside the mask.

    Attributes
    ----------
    unwrapped_rad
        Unwrapped phase without offset, shape ``(echo, x, y, z)``.
    field_hz, field_sd_hz
        Total field and its standard deviation, shape ``(x, y, z)``.
    quality
        Quality of the phase in [0, 1] by ROMEO's edge weights.
    residual_rad
        Weighted root mean square that the field leaves of the phases.
    offset_rad
        Phase removed from each echo, shape ``(echo, x, y, z)``, in [-pi, pi]; not masked.
    flags
        Short names of what a reader must know, for the report.
    steps
        Plain sentences on what was done.
    """

    unwrapped_rad: FloatArray
    field_hz: FloatArray
    field_sd_hz: FloatArray
    quality: FloatArray
    residual_rad: FloatArray
    offset_rad: FloatArray
    flags: tuple[str, ...]
    steps: tuple[str, ...]


def map_field(
    phase_rad: FloatArray,
    magnitude: FloatArray | None,
    echo_times_s: Sequence[float],
    mask: BoolArray,
    voxel_size_mm: Sequence[float],
    *,
    unwrapping: str = "romeo",
    combination: str = "phase_snr",
    offset: Offset = "auto",
    smoothing_mm: float = 7.0,
) -> FieldMap:
    """Remove the phase offset, unwrap, and combine the echoes.

    Sign: ``phase = +2*pi * field_hz * TE``.

    Parameters
    ----------
    phase_rad
        Wrapped phase, shape ``(echo, x, y, z)``, rad.
    magnitude
        Same shape, or None.
    echo_times_s
        Echo times in seconds, increasing.
    mask
        Voxels to map, shape ``(x, y, z)``.
    voxel_size_mm
        Edge lengths of a voxel in mm.
    unwrapping, combination
        Names in :data:`UNWRAPPING` and :data:`COMBINATION`.
    offset
        *monopolar* removes the offset of the first two echoes (MCPC-3D-S), *bipolar* also the
        alternating phase of odd and even echoes, *auto* is monopolar for two echoes or more and
        none for one.
    smoothing_mm
        Standard deviation of the Gaussian that smooths the offset.

    Raises
    ------
    DataError
        If shapes disagree, the mask is empty or the echo times are implausible.
    """
    flags: list[str] = []
    steps: list[str] = []
    phase = phase_rad.astype(np.float32)
    weight = np.ones_like(phase) if magnitude is None else magnitude.astype(np.float32)

    removed = np.zeros_like(phase)
    if len(phase) > 1 and offset != "none":
        removed += phase_offset(
            phase, weight, echo_times_s, mask, voxel_size_mm, smoothing_mm=smoothing_mm
        )
    if offset == "bipolar":
        removed += bipolar_offset(
            wrap(phase - removed), weight, echo_times_s, mask, voxel_size_mm, smoothing_mm=smoothing_mm
        )
    phase = wrap(phase - removed)
    unwrapped = UNWRAPPING[unwrapping](
        phase,
        magnitude=weight,
        mask=mask,
        echo_times_s=echo_times_s,
        voxel_size_mm=voxel_size_mm,
    )
    fit = COMBINATION[combination](unwrapped, weight, echo_times_s, mask)
    return FieldMap(
        unwrapped_rad=unwrapped,
        field_hz=fit.field_hz,
        field_sd_hz=fit.field_sd_hz,
        quality=voxel_quality(phase, weight, echo_times_s, mask),
        residual_rad=fit.residual_rad,
        offset_rad=wrap(removed),
        flags=tuple(flags),
        steps=tuple(steps),
    )
