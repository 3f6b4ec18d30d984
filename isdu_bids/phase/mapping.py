"""From wrapped phase to the total field: the one entry for a scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from isdu_bids.echoes import check_echo_times, spacing_flags
from isdu_bids.errors import DataError
from isdu_bids.phase.checks import check_sign, repair_slice_polarity
from isdu_bids.phase.combination import COMBINATION
from isdu_bids.phase.offsets import bipolar_offset, offset_residue, phase_offset
from isdu_bids.phase.romeo import voxel_quality
from isdu_bids.phase.unwrapping import UNWRAPPING
from isdu_bids.phase.wrapping import BoolArray, FloatArray, wrap

Offset = Literal["auto", "monopolar", "bipolar", "none"]
Sign = Literal["auto", "keep", "turn"]


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
    b0_direction: Sequence[float] | None = None,
    unwrapping: str = "romeo",
    combination: str = "phase_snr",
    offset: Offset = "auto",
    sign: Sign = "auto",
) -> FieldMap:
    """Check and repair the phase, remove its offset, unwrap it, and combine the echoes.

    Sign: ``phase = +2*pi * field_hz * TE``.

    Parameters
    ----------
    phase_rad
        Wrapped phase, shape ``(echo, x, y, z)``, rad; NaN marks missing voxels.
    magnitude
        Same shape, or None.
    echo_times_s
        Echo times in seconds, increasing.
    mask
        Voxels to map, shape ``(x, y, z)``.
    voxel_size_mm
        Edge lengths of a voxel in mm.
    b0_direction
        Unit vector along the voxel axes; with it (and a magnitude) the sign of the phase is
        checked against the outline of the head, and a reversed one is turned.
    unwrapping, combination
        Names in :data:`UNWRAPPING` and :data:`COMBINATION`.
    offset
        *monopolar* removes the offset of the first two echoes (MCPC-3D-S), *bipolar* also the
        alternating phase of odd and even echoes, *auto* is monopolar for two echoes or more and
        none for one.
    sign
        *auto* turns a phase whose sign is clearly reversed; *keep* and *turn* do as told.

    Raises
    ------
    DataError
        If shapes disagree, the mask is empty or the echo times are implausible.
    """
    _check_shapes(phase_rad, magnitude, echo_times_s, mask)
    check_echo_times(echo_times_s)
    flags, steps = [*spacing_flags(echo_times_s)], []
    weight = np.ones_like(phase_rad) if magnitude is None else magnitude
    finite: BoolArray = np.isfinite(phase_rad + weight).all(axis=0)
    if not finite[mask].all():
        flags.append("voxels_not_finite")
        steps.append(f"{np.sum(mask & ~finite)} voxels without a finite value left the mask.")
    mask = mask & finite
    if not mask.any():
        raise DataError("the mask is empty; check the phase for NaN, or give another mask")
    phase = wrap(np.where(finite, phase_rad, 0))
    weight = np.where(finite, weight, 0).astype(np.float32)

    phase, repairs = repair_slice_polarity(phase, weight)
    flags += repairs
    if repairs:
        steps.append("The phase flipped by pi from slice to slice; every second slice was turned.")

    clean = (phase, weight, echo_times_s, mask, voxel_size_mm)
    offset_rad = _offset(*clean, mode=offset, steps=steps)
    if len(phase) == 1:
        flags.append("single_echo")
    phase = wrap(phase - offset_rad)
    unwrapped = UNWRAPPING[unwrapping](
        phase,
        magnitude=weight,
        mask=mask,
        echo_times_s=echo_times_s,
        voxel_size_mm=voxel_size_mm,
    )
    steps.append(
        f"The phase was unwrapped with {unwrapping} (doi:{UNWRAPPING[unwrapping].reference})."
    )
    if offset_rad.any():
        residue = offset_residue(unwrapped, weight, echo_times_s, mask, voxel_size_mm)
        unwrapped, offset_rad = unwrapped - mask * residue, offset_rad + residue
    fit = COMBINATION[combination](unwrapped, weight, echo_times_s, mask)
    if len(phase) > 1:
        steps.append(f"{len(phase)} echoes were combined to one field with {combination} weights.")

    turned = sign == "turn"
    if b0_direction is None or magnitude is None:
        flags.append("sign_unchecked")
    else:
        check = check_sign(fit.field_hz, weight[0], mask, voxel_size_mm, b0_direction)
        flags.append(f"sign_{check.verdict}")
        steps.append(
            f"The field correlates by {check.correlation:.2f} with that of the head's outline: "
            f"its sign is {check.verdict}."
        )
        turned |= sign == "auto" and check.verdict == "reversed"
    factor = np.float32(-1 if turned else 1)
    if turned:
        flags.append("sign_turned")
        steps.append("The sign of the phase was turned.")
    return FieldMap(
        unwrapped_rad=factor * unwrapped,
        field_hz=factor * fit.field_hz,
        field_sd_hz=fit.field_sd_hz,
        quality=voxel_quality(phase, weight, echo_times_s, mask),
        residual_rad=fit.residual_rad,
        offset_rad=factor * wrap(offset_rad),
        flags=tuple(flags),
        steps=tuple(steps),
    )


def _offset(
    phase: FloatArray,
    weight: FloatArray,
    echo_times_s: Sequence[float],
    mask: BoolArray,
    voxel_size_mm: Sequence[float],
    *,
    mode: Offset,
    steps: list[str],
) -> FloatArray:
    """Phase to remove from each echo; says what was done in ``steps``."""
    removed = np.zeros_like(phase)
    if mode == "none" or (mode == "auto" and len(phase) == 1):
        steps.append(
            "The phase offset was not removed."
            if len(phase) > 1
            else "With a single echo the phase offset stays in the field; background removal must "
            "take it."
        )
        return removed
    rest = (weight, echo_times_s, mask, voxel_size_mm)
    removed += phase_offset(phase, *rest)
    steps.append(
        "The phase offset was removed with MCPC-3D-S from the first two echoes, smoothed by "
        "splines (doi:10.1002/mrm.26963); what all echoes still shared after unwrapping, too."
    )
    if mode == "bipolar":
        removed += bipolar_offset(wrap(phase - removed), *rest)
        steps.append("The phase that alternates with the readout direction was removed.")
    return removed


def _check_shapes(
    phase: FloatArray, magnitude: FloatArray | None, echo_times_s: Sequence[float], mask: BoolArray
) -> None:
    if phase.ndim != 4 or len(phase) != len(echo_times_s):
        raise DataError(
            f"phase of shape {phase.shape} with {len(echo_times_s)} EchoTime values; "
            "one 3D volume per echo time is needed"
        )
    if magnitude is not None and magnitude.shape != phase.shape:
        raise DataError(
            f"magnitude {magnitude.shape} and phase {phase.shape} differ in shape; "
            "check for a missing slice or echo"
        )
    if mask.shape != phase.shape[1:]:
        raise DataError(f"mask {mask.shape} and phase {phase.shape[1:]} differ in shape")
