"""Parts of a scan that are missing, or are copies of their neighbours."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from isdu_bids.phase.wrapping import BoolArray, FloatArray

#: Share of the head where a phase may be exactly 0 in a row: few levels make it 0 by chance. A
#: magnitude that is 0 where other echoes are bright is none that was measured.
_ZERO_PHASE = 1e-3


def find_gaps(phase_rad: FloatArray, magnitude: FloatArray, head: BoolArray) -> tuple[str, ...]:
    """Short names of what is missing.

    Parameters
    ----------
    phase_rad, magnitude
        Shape ``(echo, x, y, z)``.
    head
        Voxels with signal in most echoes, shape ``(x, y, z)``.

    Returns
    -------
    tuple of str
        ``signal_missing`` where magnitude or phase of an echo is exactly 0 in voxels side by side
        of the head; ``slice_missing`` where a slice is, of any direction; ``slice_repeated`` where
        a slice is that before it.
    """
    volumes = [*magnitude, *phase_rad]
    found = {
        "signal_missing": any(_zeros(echo, head) > 0 for echo in magnitude)
        or any(_zeros(echo, head) > _ZERO_PHASE * head.sum() for echo in phase_rad),
        "slice_missing": any(_empty_slices(volume) for volume in volumes),
        "slice_repeated": any(_repeated_slices(volume) for volume in volumes),
    }
    return tuple(flag for flag, holds in found.items() if holds)


def _zeros(volume: FloatArray, head: BoolArray) -> int:
    """Voxels of the head that are 0 as are those before and after them."""
    zero = (volume == 0) & head
    return int((zero[:-2] & zero[1:-1] & zero[2:]).sum())


def _empty_slices(volume: FloatArray) -> bool:
    for axis in range(3):
        filled = np.flatnonzero((volume != 0).any(axis=_others(axis)))
        if filled.size and np.ptp(filled) >= filled.size:
            return True
    return False


def _repeated_slices(volume: FloatArray) -> bool:
    for axis in range(3):
        slices: npt.NDArray[np.floating] = np.moveaxis(volume, axis, 0)
        same = (slices[1:] == slices[:-1]).all(axis=(1, 2))
        if (same & (np.ptp(slices[1:], axis=(1, 2)) > 0)).any():
            return True
    return False


def _others(axis: int) -> tuple[int, int]:
    first, second = {0, 1, 2} - {axis}
    return first, second
