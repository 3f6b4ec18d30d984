"""ROMEO's quality of an edge between two neighbouring voxels.

Each voxel owns three edges, to its neighbours at +x, +y and +z. The quality of an edge is the
product over the terms of ``0.1 + 0.9 * term``, every term in [0, 1]:

==  =========================  =====================================================
1   phase coherence            ``1 - |wrap(Pi - Pj)| / pi``
2   gradient coherence         ``1 - |wrap(Pi - Pj) - wrap(Qi - Qj) * TE1 / TE2|``
3   phase linearity            ``1 - |wrap(Pa - 2 Pb + Pc)| / 2`` before and behind the edge
4   magnitude coherence        ``(smaller / larger)^2``
==  =========================  =====================================================

with the phase P and a second echo Q. Terms without their data drop out.

References
----------
Dymerska et al. 2021, doi:10.1002/mrm.28563.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from isdu_bids.phase.wrapping import BoolArray, FloatArray

#: Bins of edge quality: 1 is best, 255 worst, 0 means that there is no edge.
N_BINS = 256

_PER_HALF_TURN = np.float32(1 / np.pi)
_PER_TURN = np.float32(0.5 / np.pi)
_TWO_PI = np.float32(2 * np.pi)
_ONE = np.float32(1)
_HALF = np.float32(0.5)
_FLOOR = np.float32(0.1)
_SPAN = np.float32(0.9)


@dataclass(frozen=True)
class Edges:
    """What the quality of edges is computed from.

    Attributes
    ----------
    phase_rad, mask
        Phase and the voxels that have edges, shape ``(x, y, z)``.
    magnitude
        Same shape, or None.
    second_phase_rad, time_ratio
        Phase of a second echo and TE1/TE2, or None.
    """

    phase_rad: FloatArray
    mask: BoolArray
    magnitude: FloatArray | None = None
    second_phase_rad: FloatArray | None = None
    time_ratio: float = 1.0

    def bins(self) -> npt.NDArray[np.uint8]:
        """Edge bins, shape ``(x, y, z, 3)``."""
        phase, mask = _flat(self.phase_rad), np.ascontiguousarray(self.mask).reshape(-1)
        none = np.zeros(0, np.float32)
        second = none if self.second_phase_rad is None else _flat(self.second_phase_rad)
        magnitude = none if self.magnitude is None else _flat(self.magnitude)
        bins = np.zeros((mask.size, 3), np.uint8)
        ratio = np.float32(self.time_ratio)
        _fill_bins(phase, second, ratio, magnitude, mask, self.mask.shape, bins)
        return bins.reshape(*self.mask.shape, 3)

    def voxel_quality(self) -> FloatArray:
        """Mean quality of the six edges of each voxel in [0, 1]; a missing edge counts as 0."""
        bins = self.bins()
        quality = np.where(bins == 0, 0, 1 - bins / np.float32(N_BINS - 1)).astype(np.float32)
        total = quality.sum(axis=-1)
        total[1:] += quality[:-1, ..., 0]
        total[:, 1:] += quality[:, :-1, :, 1]
        total[:, :, 1:] += quality[:, :, :-1, 2]
        return total / np.float32(6)


def _flat(volume: FloatArray) -> FloatArray:
    return np.ascontiguousarray(volume, np.float32).reshape(-1)


@numba.njit(inline="always", error_model="numpy")
def _wrapped(angle: np.float32) -> np.float32:
    return angle - _TWO_PI * np.floor(angle * _PER_TURN + _HALF)


@numba.njit(inline="always", error_model="numpy")
def _straight(a: np.float32, b: np.float32, c: np.float32) -> np.float32:
    return max(np.float32(0), _ONE - abs(_wrapped(a - b - b + c)) * _HALF)


@numba.njit(cache=True, error_model="numpy")
def _quality(
    phase: FloatArray,
    second: FloatArray,
    ratio: np.float32,
    magnitude: FloatArray,
    i: int,
    step: int,
    inner: bool,
) -> np.float32:
    """Quality of the edge from voxel ``i`` to ``i + step``; ``inner``: there are voxels beyond."""
    j = i + step
    gradient = _wrapped(phase[i] - phase[j])
    quality = _FLOOR + _SPAN * (_ONE - abs(gradient) * _PER_HALF_TURN)
    if second.size:
        difference = gradient - _wrapped(second[i] - second[j]) * ratio
        quality *= _FLOOR + _SPAN * max(np.float32(0), _ONE - abs(difference))
    if inner:
        before = _straight(phase[i - step], phase[i], phase[j])
        behind = _straight(phase[i], phase[j], phase[j + step])
        quality *= _FLOOR + _SPAN * before * behind
    else:
        quality *= _SPAN
    if magnitude.size:
        small, large = min(magnitude[i], magnitude[j]), max(magnitude[i], magnitude[j])
        if large > 0:
            quality *= _FLOOR + _SPAN * (small / large) ** 2
        else:
            quality *= _FLOOR
    return quality


@numba.njit(cache=True, error_model="numpy")
def _fill_bins(
    phase: FloatArray,
    second: FloatArray,
    ratio: np.float32,
    magnitude: FloatArray,
    mask: BoolArray,
    shape: tuple[int, int, int],
    bins: npt.NDArray[np.uint8],
) -> None:
    steps = (shape[1] * shape[2], shape[2], 1)
    for x in range(shape[0]):
        for y in range(shape[1]):
            for z in range(shape[2]):
                i = (x * shape[1] + y) * shape[2] + z
                if not mask[i]:
                    continue
                position = (x, y, z)
                for axis in range(3):
                    step, last = steps[axis], shape[axis] - 1
                    if position[axis] == last or not mask[i + step]:
                        continue
                    inner = 0 < position[axis] < last - 1
                    quality = _quality(phase, second, ratio, magnitude, i, step, inner)
                    bins[i, axis] = max(1, int((_ONE - quality) * (N_BINS - 1) + _HALF))
