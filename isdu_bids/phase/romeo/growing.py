"""Region growing along the best edges, with a bucket queue."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from isdu_bids.phase.romeo.weights import N_BINS
from isdu_bids.phase.wrapping import TWO_PI, BoolArray, FloatArray


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
    seeds = np.flatnonzero(mask)
    edge_sums = np.where(bins == 0, N_BINS - 1, bins).sum(axis=-1, dtype=np.uint16)
    seeds = seeds[np.argsort(edge_sums[mask], kind="stable")]
    steps = np.array([mask.shape[1] * mask.shape[2], mask.shape[2], 1])
    _grow(unwrapped.reshape(-1), bins.reshape(-1), region.reshape(-1), seeds, steps)
    return unwrapped, region


@numba.njit(cache=True)
def _push(
    voxel: int,
    bins: npt.NDArray[np.uint8],
    region: npt.NDArray[np.int32],
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
            if region[first + (1 - backward) * steps[axis]] == 0:
                bin_ = bins[edge]
                queue[tops[bin_]] = edge
                tops[bin_] += 1
                best = min(best, bin_)
    return best


@numba.njit(cache=True)
def _grow(
    phase: FloatArray,
    bins: npt.NDArray[np.uint8],
    region: npt.NDArray[np.int32],
    seeds: npt.NDArray[np.int64],
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
    for voxel in seeds:
        if region[voxel] != 0:
            lowest = min(lowest, _push(voxel, bins, region, queue, tops, steps))
    n_regions = 1 if lowest < N_BINS else 0
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
            if region[old] == 0:
                old, new = new, old
            elif region[new] != 0:
                continue
            phase[new] -= TWO_PI * np.rint((phase[new] - phase[old]) / TWO_PI)
            region[new] = region[old]
            lowest = min(lowest, _push(new, bins, region, queue, tops, steps))
        while next_seed < seeds.size and region[seeds[next_seed]] != 0:
            next_seed += 1
        if next_seed == seeds.size:
            return
        n_regions += 1
        region[seeds[next_seed]] = n_regions
        lowest = _push(seeds[next_seed], bins, region, queue, tops, steps)
