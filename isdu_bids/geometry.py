"""What an affine says: voxel size, direction of B0, obliquity. The affine is the truth."""

from __future__ import annotations

from itertools import permutations
from math import acos, degrees, hypot, isfinite
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from isdu_bids.errors import DataError

Triple: TypeAlias = tuple[float, float, float]

#: Scanner z, along which B0 points, in world (RAS+) coordinates.
_SCANNER_Z = np.array([0.0, 0.0, 1.0])


def voxel_size_mm(affine: npt.ArrayLike) -> Triple:
    """Edge lengths of a voxel (mm): the norms of the affine's columns, to six digits.

    Headers have single precision: an oblique 4 mm is 3.9999999 or 4.0000001 there, and how many
    voxels reach 10 mm must not hang on that.

    Examples
    --------
    >>> voxel_size_mm(np.diag([3.9999999, 4.0000001, 1.25, 1.0]))
    (4.0, 4.0, 1.25)
    """
    return _triple(np.array([float(f"{length:.6g}") for length in _lengths(affine)]))


def b0_direction(affine: npt.ArrayLike) -> Triple:
    """Direction of B0 as a unit vector along the voxel axes.

    With the direction cosines R of the voxel axes in the world, the scanner's z axis has voxel
    components R^T (0, 0, 1).

    Examples
    --------
    >>> b0_direction(np.diag([-2.0, 2.0, 3.0, 1.0]))
    (0.0, 0.0, 1.0)
    """
    cosines = np.asarray(affine, dtype=float)[:3, :3] / _lengths(affine)
    return unit_vector(cosines.T @ _SCANNER_Z)


def unit_vector(vector: npt.ArrayLike) -> Triple:
    """Scale a 3-vector to length one, with 12 decimals.

    Rounding makes multiples of a vector, and different processors, agree to the last bit; it turns
    the vector by less than a millionth of a microradian.

    Raises
    ------
    DataError
        If the vector is zero, not finite or not of length 3.

    Examples
    --------
    >>> unit_vector((0, 3, 4)) == unit_vector((0, 0.3, 0.4)) == (0.0, 0.6, 0.8)
    True
    """
    array = np.asarray(vector, dtype=float)
    norm = hypot(*array.flat)
    if array.shape != (3,) or not isfinite(norm) or norm == 0:
        raise DataError(f"B0 direction {vector!r} is no 3-vector; give three numbers, e.g. 0 0 1")
    return _triple((array / norm).round(12))


def obliquity_deg(direction: Triple) -> float:
    """Angle (degrees) between B0 and the nearest voxel axis.

    Examples
    --------
    >>> round(obliquity_deg((0.0, 0.5, 0.75**0.5)), 6)
    30.0
    """
    return degrees(acos(min(1.0, max(abs(component) for component in direction))))


def ras_axes(affine: npt.ArrayLike) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """Voxel axes nearest to right, anterior and superior, and whether each runs the other way.

    Examples
    --------
    >>> ras_axes(np.diag([-2.0, 1.0, 3.0, 1.0])[[1, 0, 2, 3]])
    ((1, 0, 2), (False, True, False))
    """
    cosines = np.asarray(affine, dtype=float)[:3, :3] / np.array(voxel_size_mm(affine))
    right, anterior, superior = max(
        permutations(range(3)), key=lambda order: float(np.abs(cosines[range(3), order]).sum())
    )
    axes = (right, anterior, superior)
    x, y, z = (bool(cosines[row, axis] < 0) for row, axis in enumerate(axes))
    return axes, (x, y, z)


def _lengths(affine: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Norms of the affine's columns."""
    matrix = np.asarray(affine, dtype=float)[:3, :3]
    sizes: npt.NDArray[np.float64] = np.linalg.norm(matrix, axis=0)
    if not np.all(np.isfinite(sizes)) or np.any(sizes <= 0) or abs(np.linalg.det(matrix)) < 1e-9:
        raise DataError("the affine is singular; write a valid sform into the NIfTI header")
    return sizes


def _triple(values: npt.NDArray[np.float64]) -> Triple:
    x, y, z = (float(value) + 0.0 for value in values)
    return x, y, z
