"""A phase that varies slowly in space, from a noisy and wrapped one."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import linalg, sparse
from scipy.interpolate import BSpline

from isdu_bids.phase.romeo import unwrap_romeo
from isdu_bids.phase.wrapping import FloatArray, wrap

Array = npt.NDArray[np.floating]

#: Edge of the cells whose mean phase is fitted.
CELL_MM = 6.0
#: Weight of the splines' third differences: as good as free where there are data.
ROUGHNESS = 1e-4
#: A cell this many (robust) standard deviations off has half its weight,
TOLERANCE = 2.0
#: but none is distrusted for less than this.
LEAST_MISFIT_RAD = 0.01


def smooth_phase(
    phase_rad: FloatArray,
    weight: Array,
    voxel_size_mm: Sequence[float],
    *,
    knots_mm: float = 20.0,
) -> FloatArray:
    """Cubic spline through a wrapped phase.

    Unlike a moving mean, which flattens curvature and bends at the rim of the weights, a spline
    keeps every slow change. It is fitted to the mean of ``weight * exp(i * phase)`` over small
    cells, unwrapped, at their centres of mass; cells that fit badly lose weight.

    Parameters
    ----------
    phase_rad
        Phase ``(x, y, z)``.
    weight
        Inverse variance of the phase up to a factor, 0 where it is unknown.
    voxel_size_mm
        Edge lengths of a voxel in mm.
    knots_mm
        Distance of the spline's knots.

    Returns
    -------
    ndarray
        Phase in [-pi, pi], extrapolated a little beyond the weights.

    References
    ----------
    Eilers & Marx 1996, doi:10.1214/ss/1038425655.
    """
    if not np.any(weight > 0):
        return np.zeros_like(phase_rad)
    edges = [max(1, round(CELL_MM / size)) for size in voxel_size_mm]
    signal = _sum_over_cells(weight * np.exp(1j * phase_rad), edges)
    mass = _sum_over_cells(weight, edges)
    known = mass > 0
    phase = unwrap_romeo(
        np.angle(signal)[None].astype(np.float32),
        magnitude=np.abs(signal)[None].astype(np.float32),
        mask=known,
        echo_times_s=(1.0,),
        multi_echo="individual",
    )[0]
    at_cells: list[sparse.csr_array] = []
    at_voxels: list[sparse.csr_array] = []
    for axis, size in enumerate(voxel_size_mm):
        voxels = _along(np.arange(phase_rad.shape[axis]) * size, axis)
        centres = _sum_over_cells(weight * voxels, edges)[known] / mass[known]
        inside = np.broadcast_to(voxels, weight.shape)[weight > 0]
        for positions, splines in ((centres, at_cells), (voxels.ravel(), at_voxels)):
            splines.append(_splines(positions, inside.min(), inside.max(), knots_mm))
    counts = [splines.shape[1] for splines in at_cells]
    strength = np.abs(signal[known])
    coefficients = _robust_fit(
        _products(at_cells),
        phase[known].astype(np.float64),
        strength / strength.mean(),
        _roughness(counts),
    )
    smooth = np.einsum(
        "abc,xa,yb,zc->xyz",
        coefficients.reshape(counts),
        *(splines.toarray() for splines in at_voxels),
        optimize=True,
    )
    return wrap(smooth.astype(np.float32))


def _along(values: Array, axis: int) -> Array:
    """Values of one axis, to be broadcast over a volume."""
    return values.reshape([-1 if axis == other else 1 for other in range(3)])


def _sum_over_cells(volume: npt.NDArray[Any], edges: Sequence[int]) -> npt.NDArray[Any]:
    volume = np.pad(volume, [(0, -n % edge) for n, edge in zip(volume.shape, edges, strict=True)])
    (x, y, z), (i, j, k) = volume.shape, edges
    total: npt.NDArray[Any] = volume.reshape(x // i, i, y // j, j, z // k, k).sum(axis=(1, 3, 5))
    return total


def _splines(positions: Array, low: float, high: float, knots_mm: float) -> sparse.csr_array:
    """Cubic B-splines of evenly spaced knots: positions by splines; constant beyond the ends."""
    high = max(high, low + knots_mm / 2)
    intervals = ceil((high - low) / knots_mm)
    step = (high - low) / intervals
    knots = low + step * np.arange(-3, intervals + 4)
    return BSpline.design_matrix(np.clip(positions, low, high - 1e-6 * step), knots, 3)


def _products(parts: Sequence[sparse.csr_array]) -> sparse.csr_array:
    """Products of the splines of the three axes, point by point: points by splines."""
    data = np.einsum("va,vb,vc->vabc", *(part.data.reshape(-1, 4) for part in parts))
    i, j, k = (part.indices.reshape(-1, 4) for part in parts)
    counts = [part.shape[1] for part in parts]
    splines = (i[:, :, None, None] * counts[1] + j[:, None, :, None]) * counts[2]
    splines = splines + k[:, None, None, :]
    pointers = 64 * np.arange(len(data) + 1)
    shape = (len(data), int(np.prod(counts)))
    return sparse.csr_array((data.ravel(), splines.ravel(), pointers), shape=shape)


def _roughness(counts: Sequence[int]) -> sparse.csr_array:
    """Sum of the squares of third differences along each axis, as a matrix."""
    total = sparse.csr_array((np.prod(counts), np.prod(counts)))
    for axis, count in enumerate(counts):
        differences = sparse.csr_array(np.diff(np.eye(count), 3, axis=0))
        parts = [sparse.eye_array(n) for n in counts]
        parts[axis] = differences.T @ differences
        total = total + sparse.kron(parts[0], sparse.kron(parts[1], parts[2]))
    return total


def _robust_fit(
    design: sparse.csr_array, values: Array, weight: Array, roughness: sparse.csr_array
) -> Array:
    """Coefficients of the penalised weighted least squares with Cauchy's weights."""
    per_coefficient = len(values) / design.shape[1]
    # the last term decides what neither data nor neighbours do
    penalty = ROUGHNESS * per_coefficient * roughness + 1e-8 * sparse.eye_array(design.shape[1])
    trust = np.ones_like(values)
    for _ in range(4):
        weighted = design.multiply((weight * trust)[:, None]).tocsr()
        matrix = (design.T @ weighted + penalty).toarray()
        coefficients: Array = linalg.solve(matrix, weighted.T @ values, assume_a="pos")
        misfit = values - design @ coefficients
        scale = TOLERANCE * 1.4826 * np.median(np.abs(misfit)) + LEAST_MISFIT_RAD
        trust = 1 / (1 + (misfit / scale) ** 2)
    return coefficients
