"""Stored phase values to radians, by nominal ranges.

Scanners and converters store phase in a handful of ranges. Which one is decided from the extremes
of the whole scan, the ``Units`` of its sidecar and the manufacturer. The data are never stretched
from their own minimum and maximum to a full turn: a phase that spans less than a turn would come
out wrong by that factor. The one range without a name is accepted where the data prove it by jumps
of exactly its width.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi

import numpy as np
import numpy.typing as npt

from isdu_bids.errors import DataError
from isdu_bids.phase.wrapping import FloatArray, wrap

_REMEDY = (
    'set Units to "rad" in the phase sidecar if the values are radians, '
    "or give the range that spans one turn (--phase-range)"
)

#: By how much the jumps of wrapped phase may differ from one turn.
_TURN_TOLERANCE = 0.03


@dataclass(frozen=True)
class PhaseScaling:
    """``rad = wrap(slope * value + intercept)``.

    Attributes
    ----------
    name
        Short name of the range.
    slope, intercept
        Radians per stored unit, and radians at 0.
    reason
        Why this range, in one sentence.
    flags
        Short names of what a reader must know.
    """

    name: str
    slope: float
    intercept: float
    reason: str
    flags: tuple[str, ...] = ()

    def to_radians(self, values: npt.ArrayLike) -> FloatArray:
        """Phase in [-pi, pi]; values that are not finite become NaN, which mapping leaves out.

        Values in radians come back bit for bit, exact zeros and +-pi included.
        """
        stored = np.asarray(values)
        finite = np.isfinite(stored)
        stored = np.where(finite, stored, 0)
        if (self.slope, self.intercept) == (1.0, 0.0):
            phase = wrap(np.clip(stored, -1e4, 1e4))
        else:
            phase = wrap(stored * self.slope + self.intercept)
        return np.where(finite, phase, np.float32(np.nan))


@dataclass(frozen=True)
class _Range:
    """A nominal range: values from ``low`` to ``high`` inclusive span one turn."""

    name: str
    low: float
    high: float
    slope: float
    intercept: float
    makers: tuple[str, ...] = ()
    fill: float = 0.9

    def holds(self, low: float, high: float) -> bool:
        """Whether data from ``low`` to ``high`` fit in."""
        slack = 1e-3 * (self.high - self.low) / 2
        return self.low - slack <= low and high <= self.high + slack

    def filled(self, low: float, high: float) -> bool:
        """Whether such data fit in and nearly reach both ends."""
        slack = (1 - self.fill) / 2 * (self.high - self.low)
        return self.holds(low, high) and low <= self.low + slack and high >= self.high - slack


_RANGES = (
    _Range("radians", -pi, pi, 1.0, 0.0),
    _Range("radians from 0 to 2 pi", 0, 2 * pi, 1.0, 0.0),
    _Range("half turns (-1 to 1)", -1, 1, pi, 0.0, fill=0.99),
    _Range("milliradians", -3142, 3142, 1e-3, 0.0, ("philips", "ge")),
    _Range("12 bit signed (-4096 to 4095)", -4096, 4096, pi / 4096, 0.0, ("siemens",)),
    _Range("12 bit (0 to 4095)", 0, 4096, pi / 2048, -pi, ("siemens", "philips")),
    _Range("16 bit signed (-32768 to 32767)", -32768, 32768, pi / 32768, 0.0),
)


def explicit_scaling(range_min: float, range_max: float) -> PhaseScaling:
    """Scaling of a user who knows which stored values span one turn, -pi to pi.

    Examples
    --------
    >>> explicit_scaling(-2, 2).slope
    1.5707963267948966
    """
    if not range_max > range_min:
        raise DataError(
            f"phase range {range_min} to {range_max}: give the lower value first, e.g. -4096 4096"
        )
    slope = 2 * pi / (range_max - range_min)
    intercept = -slope * (range_min + range_max) / 2
    reason = f"the user states that {range_min:g} to {range_max:g} span one turn"
    return PhaseScaling("explicit", slope, intercept, reason)


def decide_phase_scaling(
    values: npt.ArrayLike,
    *,
    stored_dtype: npt.DTypeLike | None = None,
    units: str | None = None,
    manufacturer: str | None = None,
) -> PhaseScaling:
    """Decide how the stored phase of a scan becomes radians.

    Parameters
    ----------
    values
        Phase of all echoes as the image header scales it, shape ``(echo, x, y, z)``.
    stored_dtype
        Data type on disk, for the sentence that explains the decision.
    units
        ``Units`` of the sidecar: ``rad``, ``arbitrary`` or None.
    manufacturer
        ``Manufacturer`` of the sidecar; decides only where the range is not filled.

    Raises
    ------
    DataError
        If the phase is empty or constant, contradicts its Units, or fits no nominal range.
    """
    stored = np.asarray(values)
    finite = np.isfinite(stored)
    if not finite.any():
        raise DataError("the phase holds no finite value; check the part-phase files")
    low, high = float(stored[finite].min()), float(stored[finite].max())
    if low == high:
        raise DataError(f"the phase is {low:g} everywhere; check the part-phase files")
    flags = () if finite.all() else ("phase_not_finite",)
    kind = "" if stored_dtype is None else f" stored as {np.dtype(stored_dtype).name},"
    seen = f"values from {low:.6g} to {high:.6g},{kind} Units {units or 'missing'}"

    if (units or "").lower() in {"rad", "radian", "radians"}:
        scaling = _declared_radians(low, high, seen, flags)
    else:
        scaling = _by_range(stored, low, high, manufacturer, seen, flags)
    turn = 2 * pi / scaling.slope
    for number, echo in enumerate(stored, start=1):
        least, most = turn_by_wraps(echo) or (turn, turn)
        if not least - _TURN_TOLERANCE * turn <= turn <= most + _TURN_TOLERANCE * turn:
            raise DataError(
                f"phase of echo {number} wraps at {most:.4g}, where one turn would be {turn:.4g} "
                f"({scaling.name}; {seen}); convert the scan again; if all echoes wrap so, correct "
                "Units or give the range (--phase-range)"
            )
    return scaling


def _by_range(
    stored: npt.NDArray[np.generic],
    low: float,
    high: float,
    manufacturer: str | None,
    seen: str,
    flags: tuple[str, ...],
) -> PhaseScaling:
    proven = jumps_by(stored, high - low)
    for nominal in _RANGES:
        # -1 to 1 could be a narrow phase in radians, and a range of another maker a coincidence.
        doubtful = nominal.name.startswith("half") or _contradicted(nominal, manufacturer)
        if nominal.filled(low, high) and (proven or not doubtful):
            return PhaseScaling(nominal.name, nominal.slope, nominal.intercept, seen, flags)
    if proven and max(-low, high) < pi:
        scaling = explicit_scaling(low, high)
        symmetric = abs(low + high) < 1e-3 * (high - low)
        reason = f"{seen}; neighbours jump by the full width {high - low:.6g}, which must be a turn"
        return PhaseScaling(
            "scaled by its wraps",
            scaling.slope,
            0.0 if symmetric else scaling.intercept,
            reason,
            (*flags, "phase_scale_from_wraps"),
        )
    if not proven and (own := _by_manufacturer(low, high, manufacturer, seen, flags)) is not None:
        return own
    raise DataError(f"phase with {seen}: fits no known phase range; {_REMEDY}")


def _declared_radians(low: float, high: float, seen: str, flags: tuple[str, ...]) -> PhaseScaling:
    if high - low > 4 * pi * 1.01:
        raise DataError(
            f'phase with {seen}: Units says "rad", but wrapped phase spans 2 pi; {_REMEDY}'
        )
    if high - low > 2 * pi * 1.001:
        flags = (*flags, "phase_beyond_one_turn")
    return PhaseScaling("radians", 1.0, 0.0, f"{seen}; taken as declared", flags)


def _contradicted(nominal: _Range, manufacturer: str | None) -> bool:
    maker = (manufacturer or "").lower()
    known = any(maker.startswith(name) for name in ("siemens", "philips", "ge"))
    return bool(known and nominal.makers and not maker.startswith(nominal.makers))


def _by_manufacturer(
    low: float, high: float, manufacturer: str | None, seen: str, flags: tuple[str, ...]
) -> PhaseScaling | None:
    """Take the manufacturer's own range where the data do not fill it."""
    if not manufacturer or max(-low, high) <= 2 * pi:
        return None
    for nominal in _RANGES:
        from_zero = nominal.low == 0
        if (
            manufacturer.lower().startswith(nominal.makers or ("-",))
            and from_zero == (low >= 0)
            and nominal.holds(low, high)
        ):
            reason = f"{seen}; {manufacturer} stores this range, which the data do not fill"
            return PhaseScaling(
                nominal.name,
                nominal.slope,
                nominal.intercept,
                reason,
                (*flags, "phase_range_not_filled"),
            )
    return None


def jumps_by(values: npt.NDArray[np.generic], width: float) -> bool:
    """Whether jumps between neighbouring voxels prove that ``width`` is one turn.

    Looks at steps between two smooth stretches (flat to a tenth of the width on either side): where
    phase wraps they are nearly the full width. In independent noise, steps of 0.9 to 1 of the width
    are ten times rarer than those of 0.45 to 0.55; thrice that share is the evidence.
    """
    size = np.abs(_steps(values, width)[0])
    far = int((size > 0.9).sum())
    middle = int(((size > 0.45) & (size < 0.55)).sum())
    return far > max(0.3 * middle, 20, 1e-4 * size.size)


def turn_by_wraps(values: npt.NDArray[np.generic]) -> tuple[float, float] | None:
    """Least and most that one turn can be where the phase of an echo surely wraps, else None.

    Wraps and the noise of air reach from end to end of a turn, all values alike; where they were
    interpolated, beyond it. A jump is a turn less what the phase grows there, which its neighbours
    tell, or less by noise.
    """
    finite = values[np.isfinite(values)]
    width = float(np.ptp(finite)) if finite.size else 0.0
    if width == 0:
        return None
    steps, growth = _steps(values, width)
    jumps = np.abs(steps) > 0.9
    counts = np.histogram(finite, bins=50)[0]
    if jumps.sum() > 20 and min(counts[0], counts[-1]) > 0.5 * np.median(counts):
        return width, width
    if jumps_by(values, width):
        return width * float(np.median(np.abs(steps - growth)[jumps])), width
    return None


def _steps(
    values: npt.NDArray[np.generic], width: float
) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.floating]]:
    """Find steps between two smooth stretches, and the mean of those on either side, in widths."""
    found: list[npt.NDArray[np.floating]] = [np.empty(0, np.float32)]
    growth = list(found)
    for axis in (-3, -2, -1):
        if values.shape[axis] < 4:
            continue
        steps = np.diff(np.asarray(values, np.float32), axis=axis) / np.float32(width)
        steps = np.moveaxis(steps, axis, -1)
        before, step, after = steps[..., :-2], steps[..., 1:-1], steps[..., 2:]
        between = (np.abs(before) < 0.1) & (np.abs(after) < 0.1)
        found.append(step[between])
        growth.append((before[between] + after[between]) / 2)
    return np.concatenate(found), np.concatenate(growth)
