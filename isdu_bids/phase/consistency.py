"""Whether the echoes of a scan belong together, in this order, at these times.

Where phase runs smoothly, its step between neighbouring voxels needs no unwrapping and lies on a
line in echo time: the slope is the gradient of the field, the intercept that of the phase offset.
An echo that is a copy, negated or out of order leaves that line. Means over blocks keep noise out;
the mean step of each echo is removed, so that a linear phase of the readout (bipolar) is no fault.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
import numpy.typing as npt

from isdu_bids.echoes import evenly_spaced
from isdu_bids.errors import DataError
from isdu_bids.phase.blocks import block_sums
from isdu_bids.phase.wrapping import BoolArray, FloatArray

Moments = npt.NDArray[np.float64]

#: Distance over which phase is compared, and edge of the blocks over which steps are averaged.
_STEP_MM, _BLOCK_MM = 3.0, 12.0
#: Share of the signal of a block that must point the same way; the largest step that is surely not
#: wrapped (rad); and the fewest blocks that tell anything.
_COHERENCE, _LARGEST_STEP_RAD, _FEWEST_BLOCKS = 0.9, 1.5, 60
#: Share of the change over echo time that lines leave. Sound scans leave less than 0.006, and 0.05
#: at a signal-to-noise ratio of 15: more is suspicious, and much more cannot be.
_SUSPICIOUS, _IMPOSSIBLE = 0.03, 0.15
#: Uneven echo times are doubtful where even ones leave less by this factor: 1.15 to 4 where one
#: time of three is off by a tenth of itself.
_BETTER = 1.05
#: A negated or exchanged echo is certain where undoing it leaves less than this part of that.
_CERTAIN = 0.2
#: The phase offset follows the field by a few percent of the mean echo time. Where the order of the
#: echoes is reversed it seems to follow it by -2, and by -0.9 with one of two negated.
_LOWEST_SHIFT = -0.5


@dataclass(frozen=True)
class CheckedEchoes:
    """What comparing the echoes with each other found.

    Attributes
    ----------
    signs
        +1 or -1 per echo: what to multiply its phase by.
    unexplained
        Share of the change over echo time that lines leave; None where nothing could be compared.
    flags
        Short names of what a reader must know.
    """

    signs: tuple[int, ...]
    unexplained: float | None = None
    flags: tuple[str, ...] = ()


def check_echoes(
    phase_rad: FloatArray,
    magnitude: FloatArray,
    echo_times_s: Sequence[float],
    head: BoolArray,
    voxel_size_mm: Sequence[float],
    names: Sequence[str],
) -> CheckedEchoes:
    """Compare the phases of all echoes with each other.

    Parameters
    ----------
    phase_rad, magnitude
        Shape ``(echo, x, y, z)``, finite in the head.
    echo_times_s
        In seconds, increasing.
    head
        Voxels with signal, shape ``(x, y, z)``.
    voxel_size_mm
        Edge lengths.
    names
        Of the files, one per echo, for messages.

    Raises
    ------
    DataError
        If an echo is a copy of another one or does not fit the others, unless it is certain that
        it is negated.
    """
    untouched = (1,) * len(phase_rad)
    if len(phase_rad) < 2:
        return CheckedEchoes(untouched)
    for i, j in combinations(range(len(phase_rad)), 2):
        if head.any() and np.array_equal(phase_rad[i][head], phase_rad[j][head]):
            raise DataError(
                f"{names[j]} holds the same phase as {names[i]}; copy or convert this echo again"
            )
    moments, n_blocks = step_moments(phase_rad, magnitude, head, voxel_size_mm)
    if n_blocks < _FEWEST_BLOCKS:
        return CheckedEchoes(untouched, flags=("echoes_not_compared",))
    signs = _best_signs(moments, echo_times_s)
    turned = np.outer(signs, signs) * moments
    left = unexplained(turned, echo_times_s)
    if (exchanged := _exchanged(moments, echo_times_s)) and exchanged[0] <= 1.1 * left:
        first, second = (names[k] for k in exchanged[1])
        raise DataError(
            f"{first} and {second}: the phase of each fits the EchoTime of the other; exchange "
            "the two images, or correct EchoTime"
        )
    if left > _IMPOSSIBLE or shift(turned, echo_times_s) < _LOWEST_SHIFT:
        raise DataError(
            f"{', '.join(_suspects(moments, echo_times_s, names))}: the phase does not grow in "
            "proportion to EchoTime from echo to echo; an image is negated, copied or of another "
            "scan, or EchoTime is wrong: convert the scan again"
        )
    found = {
        "echo_sign_repaired": signs != untouched,
        "echoes_disagree": left > _SUSPICIOUS,
        "echo_times_doubtful": _fit_even_times_better(turned, echo_times_s),
    }
    return CheckedEchoes(signs, left, tuple(flag for flag, holds in found.items() if holds))


def step_moments(
    phase_rad: FloatArray, magnitude: FloatArray, head: BoolArray, voxel_size_mm: Sequence[float]
) -> tuple[Moments, int]:
    """Mean product of the phase steps of every two echoes (rad^2), and the number of blocks."""
    n_echoes = len(phase_rad)
    block = [max(2, round(_BLOCK_MM / size)) for size in voxel_size_mm]
    moments, n_blocks = np.zeros((n_echoes, n_echoes)), 0
    sizes = np.where(head, magnitude, 0)
    signals = sizes * np.exp(1j * np.where(head, phase_rad, 0).astype(np.float32))
    for axis, size_mm in enumerate(voxel_size_mm):
        lag = max(1, round(_STEP_MM / size_mm))
        if head.shape[axis] <= lag:
            continue
        near, far = (
            (slice(None),) * axis + (part,) for part in (slice(None, -lag), slice(lag, None))
        )
        both = head[near] & head[far]
        steps, coherences = [], []
        for signal, size in zip(signals, sizes, strict=True):
            total = block_sums(signal[far] * signal[near].conj(), block)
            absolute = block_sums(size[far] * size[near], block)
            steps.append(np.angle(total))
            coherences.append(np.abs(total) / np.where(absolute > 0, absolute, np.inf))
        usable = block_sums(both, block) > 0.7 * np.prod(block)
        usable &= np.min(coherences, axis=0) > _COHERENCE
        usable &= np.abs(steps).max(axis=0) < _LARGEST_STEP_RAD
        values = np.array([step[usable] for step in steps], np.float64)
        if values.shape[1]:
            values -= values.mean(axis=1, keepdims=True)
            moments += values @ values.T
            n_blocks += values.shape[1]
    return moments / max(n_blocks, 1), n_blocks


def unexplained(moments: Moments, echo_times_s: Sequence[float]) -> float:
    """Share of the steps' change over echo time that lines leave; 0 for two echoes."""
    if len(moments) < 3:
        return 0.0
    design = _design(echo_times_s)
    line = design @ np.linalg.pinv(design)
    level = np.full_like(moments, 1 / len(moments))
    one = np.eye(len(moments))
    return float(np.trace((one - line) @ moments) / np.trace((one - level) @ moments))


def shift(moments: Moments, echo_times_s: Sequence[float]) -> float:
    """Intercept of the steps by their slope, as a multiple of the mean echo time."""
    solve = np.linalg.pinv(_design(echo_times_s))
    (_, cross), (_, slope) = solve @ moments @ solve.T
    return float(cross / slope / np.mean(echo_times_s))


def _fit_even_times_better(moments: Moments, echo_times_s: Sequence[float]) -> bool:
    """Whether phases contradict the uneven echo times that are stated.

    Lines have an offset and a slope of their own, so that all evenly spaced times are one case.
    """
    if evenly_spaced(echo_times_s):
        return False
    even = unexplained(moments, range(len(moments)))
    return unexplained(moments, echo_times_s) > _BETTER * even


def _best_signs(moments: Moments, echo_times_s: Sequence[float]) -> tuple[int, ...]:
    """Signs, most of them +1, after which lines leave least, where that is certain."""
    untouched = (1,) * len(moments)
    signs = [s for s in product((1, -1), repeat=len(moments)) if 2 * s.count(-1) < len(moments)]
    left = {s: unexplained(np.outer(s, s) * moments, echo_times_s) for s in signs}
    best = min(left, key=left.__getitem__)
    certain = left[untouched] > _SUSPICIOUS and left[best] < _CERTAIN * left[untouched]
    return best if certain else untouched


def _exchanged(
    moments: Moments, echo_times_s: Sequence[float]
) -> tuple[float, tuple[int, int]] | None:
    """Find two echoes whose exchange certainly makes all fit, and what lines then leave."""
    left, moved = unexplained(moments, echo_times_s), shift(moments, echo_times_s)
    fitting = []
    for i, j in combinations(range(len(moments)), 2):
        order = list(range(len(moments)))
        order[i], order[j] = j, i
        other = moments[np.ix_(order, order)]
        less = unexplained(other, echo_times_s)
        certain = left > _SUSPICIOUS and less < _CERTAIN * left
        # the reverse of evenly spaced echoes is a line too
        certain |= moved < _LOWEST_SHIFT and less <= _SUSPICIOUS
        if certain and abs(shift(other, echo_times_s)) < -_LOWEST_SHIFT:
            fitting.append((less, (i, j)))
    return min(fitting, default=None)


def _suspects(
    moments: Moments, echo_times_s: Sequence[float], names: Sequence[str]
) -> Sequence[str]:
    """Name the echo without which the others fit; all of them where three or two are left."""
    if len(names) < 4:
        return names
    times = np.asarray(echo_times_s)
    without = [
        unexplained(np.delete(np.delete(moments, k, 0), k, 1), np.delete(times, k).tolist())
        for k in range(len(names))
    ]
    return [names[int(np.argmin(without))]]


def _design(echo_times_s: Sequence[float]) -> Moments:
    times = np.asarray(echo_times_s, np.float64)
    return np.stack([np.ones_like(times), times], axis=1)
