"""From wrapped phase to the total field: the one entry for a scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from isdu_bids.citations import Sentence
from isdu_bids.echoes import check_echo_times, spacing_flags
from isdu_bids.errors import DataError
from isdu_bids.phase.checks import SignCheck, check_sign, repair_slice_polarity
from isdu_bids.phase.offsets import offset_residue
from isdu_bids.phase.registry import COMBINATION, OFFSET, UNWRAPPING, Sign
from isdu_bids.phase.romeo import voxel_quality
from isdu_bids.phase.wrapping import BoolArray, FloatArray, wrap

#: Medians of sound echoes are off by less than 0.001; 0.05 costs a map of three echoes a sixth.
_ECHO_OFFSET_RAD = 0.05


_OFFSET_STAYS = "The phase offset was not removed"
_OFFSET_OF_ONE_ECHO = (
    "With a single echo the phase offset stays in the field; background removal takes it"
)


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
        What was done, the same for every scan of a protocol.
    sign_correlation
        Of the field with that of the head's outline; None where it was not checked.
    """

    unwrapped_rad: FloatArray
    field_hz: FloatArray
    field_sd_hz: FloatArray
    quality: FloatArray
    residual_rad: FloatArray
    offset_rad: FloatArray
    flags: tuple[str, ...]
    steps: tuple[Sentence, ...]
    sign_correlation: float | None


def map_field(
    phase_rad: FloatArray,
    magnitude: FloatArray | None,
    echo_times_s: Sequence[float],
    mask: BoolArray,
    voxel_size_mm: Sequence[float],
    *,
    b0_direction: Sequence[float] | None = None,
    unwrapping: str = str(UNWRAPPING.default),
    combination: str = str(COMBINATION.default),
    offset: str = str(OFFSET.default),
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
    unwrapping, combination, offset
        Methods of `isdu_bids.phase.registry`, with parameters: ``romeo:multi_echo=individual``.
    sign
        *auto* turns a phase whose sign is clearly reversed; *keep* and *turn* do as told.

    Raises
    ------
    DataError
        If shapes disagree, the mask is empty or the echo times are implausible.
    """
    _check_shapes(phase_rad, magnitude, echo_times_s, mask)
    check_echo_times(echo_times_s)
    flags = [*spacing_flags(echo_times_s)]
    steps: list[Sentence] = []
    weight = np.ones_like(phase_rad) if magnitude is None else magnitude
    finite: BoolArray = np.isfinite(phase_rad + weight).all(axis=0)
    if not finite[mask].all():
        flags.append("voxels_not_finite")
    mask = mask & finite
    if not mask.any():
        raise DataError("the mask is empty; check the phase for NaN, or give another mask")
    phase = wrap(np.where(finite, phase_rad, 0))
    weight = np.where(finite, weight, 0).astype(np.float32)

    phase, repairs = repair_slice_polarity(phase, weight)
    flags += repairs
    steps.append(("Slices whose phase was flipped by pi were turned back where there were any", ""))

    scan = {
        "phase_rad": phase,
        "magnitude": weight,
        "mask": mask,
        "echo_times_s": echo_times_s,
        "voxel_size_mm": voxel_size_mm,
    }
    offset_rad = np.zeros_like(phase)
    if (chosen := OFFSET.resolved(offset, scan)) is not None:
        offset_rad += OFFSET.run(chosen, scan)
        steps.append(OFFSET.step("The phase offset was removed with {}", chosen))
    else:
        steps.append((_OFFSET_STAYS if len(phase) > 1 else _OFFSET_OF_ONE_ECHO, ""))
    if len(phase) == 1:
        flags.append("single_echo")
    phase = wrap(phase - offset_rad)
    unwrapped = UNWRAPPING.run(unwrapping, {**scan, "phase_rad": phase})
    steps.append(UNWRAPPING.step("The phase was unwrapped with {}", unwrapping))
    if offset_rad.any():
        residue = offset_residue(unwrapped, weight, echo_times_s, mask, voxel_size_mm)
        unwrapped, offset_rad = unwrapped - mask * residue, offset_rad + residue
        steps.append(("What phase all echoes still shared was removed as a smooth spline", ""))
    fit = COMBINATION.run(combination, {**scan, "unwrapped_rad": unwrapped})
    if len(phase) > 1:
        steps.append(COMBINATION.step("The field was computed as the {}", combination))
    if _largest_offset_rad(unwrapped, fit.field_hz, echo_times_s, mask) > _ECHO_OFFSET_RAD:
        flags.append("echo_offset")

    head = None if magnitude is None else weight[0]
    checked = _correlation(fit.field_hz, head, mask, voxel_size_mm, b0_direction)
    factor, found, told = _sign(sign, checked)
    return FieldMap(
        unwrapped_rad=factor * unwrapped,
        field_hz=factor * fit.field_hz,
        field_sd_hz=fit.field_sd_hz,
        quality=voxel_quality(phase, weight, echo_times_s, mask),
        residual_rad=fit.residual_rad,
        offset_rad=factor * wrap(offset_rad),
        flags=(*flags, *found),
        steps=(*steps, *told),
        sign_correlation=checked.correlation if checked else None,
    )


def _largest_offset_rad(
    unwrapped_rad: FloatArray, field_hz: FloatArray, echo_times_s: Sequence[float], mask: BoolArray
) -> float:
    """By how much one echo is off the field as a whole; two echoes are never off."""
    if len(unwrapped_rad) < 3:
        return 0.0
    evolution = 2 * np.pi * np.outer(echo_times_s, field_hz[mask])
    return float(np.abs(np.median(unwrapped_rad[:, mask] - evolution, axis=1)).max())


def _correlation(
    field_hz: FloatArray,
    head: FloatArray | None,
    mask: BoolArray,
    voxel_size_mm: Sequence[float],
    b0_direction: Sequence[float] | None,
) -> SignCheck | None:
    if b0_direction is None or head is None:
        return None
    return check_sign(field_hz, head, mask, voxel_size_mm, b0_direction)


def _sign(sign: Sign, checked: SignCheck | None) -> tuple[np.float32, list[str], list[Sentence]]:
    """Factor that makes the sign of a field right, with flags and sentences on it."""
    flags = [f"sign_{checked.verdict}" if checked else "sign_unchecked"]
    if checked and checked.best_direction:
        flags.append("b0_direction_doubtful")
    steps: list[Sentence] = []
    if sign == "turn":
        steps.append(("The sign of the phase was turned", ""))
    elif sign == "auto" and checked:
        text = "compared with that of the head's outline in a uniform field, and turned if reversed"
        steps.append((f"The sign of the field was {text}", ""))
    is_reversed = sign == "auto" and checked is not None and checked.verdict == "reversed"
    turned = sign == "turn" or is_reversed
    if turned:
        flags.append("sign_turned")
    return np.float32(-1 if turned else 1), flags, steps


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
