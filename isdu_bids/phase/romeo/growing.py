"""Region growing along the best edges, with a bucket queue."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from isdu_bids.phase.romeo.weights import N_BINS
from isdu_bids.phase.wrapping import TWO_PI, BoolArray, FloatArray

_PER_TURN = np.float32(0.5 / np.pi)


def grow(
    phase_rad: FloatArray,
    bins: npt.NDArray[np.uint8],
    mask: BoolArray,
    trusted: BoolArray | None = None,
) -> tuple[FloatArray, npt.NDArray[np.int32]]:
    """Unwrap by visiting voxels over the best edge that leaves the visited region.

    A visited voxel ``new`` reached from ``old`` becomes ``new - 2*pi * round((new - old) / 2*pi)``.
    Growth starts from ``trusted`` voxels, which keep their values, and then, for every part of the
    mask not reached, from the voxel with the best edges.

    Parameters
    ----------
    phase_rad
        Wrapped phase, shape ``(x, y, z)``.
    bins
        Edge bins, shape ``(x, y, z, 3)``: 1 best, 255 worst, 0 no edge.
    mask
        Voxels to unwrap.
    trusted
        Voxels whose values are already right.

    Returns
    -------
    unwrapped_rad, region
        Unwrapped phase, and the number of the seed from which each voxel was reached (1 is shared
        by the trusted voxels and the first seed; 0 outside the mask).
    """
    unwrapped = np.array(phase_rad, np.float32, order="C")
    region = np.zeros(mask.shape, np.int32)
    if trusted is not None:
        region[trusted & mask] = 1
    unvisited = np.flatnonzero(mask & (region == 0))
    steps = np.array([mask.shape[1] * mask.shape[2], mask.shape[2], 1])
    _grow(unwrapped.reshape(-1), bins.reshape(-1), region.reshape(-1), unvisited, steps)
    return unwrapped, region


@numba.njit(cache=True, error_model="numpy")
def _by_edge_sum(
    voxels: npt.NDArray[np.int64], bins: npt.NDArray[np.uint8]
) -> npt.NDArray[np.int64]:
    """Sort voxels by the sum of their three bins, a missing edge counting as the worst."""
    sums = np.empty(voxels.size, np.int16)
    position = np.zeros(3 * N_BINS, np.int64)
    for index, voxel in enumerate(voxels):
        sums[index] = 0
        for edge in range(3 * voxel, 3 * voxel + 3):
            sums[index] += bins[edge] if bins[edge] > 0 else N_BINS - 1
        position[sums[index] + 1] += 1
    position = np.cumsum(position)
    ordered = np.empty_like(voxels)
    for index, voxel in enumerate(voxels):
        ordered[position[sums[index]]] = voxel
        position[sums[index]] += 1
    return ordered


@numba.njit(cache=True, error_model="numpy")
def _push(
    voxel: int,
    bins: npt.NDArray[np.uint8],
    visited: BoolArray,
    queue: npt.NDArray[np.int32],
    tops: npt.NDArray[np.int64],
    steps: npt.NDArray[np.int64],
) -> int:
    """Queue the edges from a visited voxel to unvisited ones; return the best bin among them."""
    best = N_BINS
    for axis in range(3):
        for backward in range(2):
            first = voxel - backward * steps[axis]
            edge = 3 * first + axis
            if first < 0 or bins[edge] == 0:
                continue
            if not visited[first + (1 - backward) * steps[axis]]:
                bin_ = bins[edge]
                queue[tops[bin_]] = edge
                tops[bin_] += 1
                best = min(best, bin_)
    return best


@numba.njit(cache=True, error_model="numpy")
def _grow(
    phase: FloatArray,
    bins: npt.NDArray[np.uint8],
    region: npt.NDArray[np.int32],
    unvisited: npt.NDArray[np.int64],
    steps: npt.NDArray[np.int64],
) -> None:
    # One last-in-first-out stack per bin. An edge enters the queue at most once, when the first of
    # its voxels is visited, so the stacks share one array in which each has room for its edges.
    bottoms = np.zeros(N_BINS, np.int64)
    for bin_ in bins:
        bottoms[bin_] += 1
    bottoms[0] = 0
    bottoms = np.cumsum(bottoms) - bottoms
    tops = bottoms.copy()
    queue = np.empty(np.count_nonzero(bins), np.int32)
    lowest = N_BINS
    visited = region != 0  # small enough to stay in the processor's cache
    for voxel in range(visited.size):
        if visited[voxel]:
            lowest = min(lowest, _push(voxel, bins, visited, queue, tops, steps))
    n_regions = 1 if lowest < N_BINS else 0
    seeds = _by_edge_sum(unvisited, bins)
    next_seed = 0
    while True:
        while lowest < N_BINS:
            if tops[lowest] == bottoms[lowest]:
                lowest += 1
                continue
            tops[lowest] -= 1
            edge = queue[tops[lowest]]
            old = edge // 3
            new = old + steps[edge % 3]
            if not visited[old]:
                old, new = new, old
            elif visited[new]:
                continue
            phase[new] -= TWO_PI * np.rint((phase[new] - phase[old]) * _PER_TURN)
            visited[new] = True
            region[new] = n_regions
            lowest = min(lowest, _push(new, bins, visited, queue, tops, steps))
        while next_seed < seeds.size and visited[seeds[next_seed]]:
            next_seed += 1
        if next_seed == seeds.size:
            return
        n_regions += 1
        visited[seeds[next_seed]] = True
        region[seeds[next_seed]] = n_regions
        lowest = _push(seeds[next_seed], bins, visited, queue, tops, steps)
