"""The grid on which a network runs: native, its training resolution, or that and along B0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import affine_transform, distance_transform_edt, gaussian_filter

Volume = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Grid:
    """Isotropic voxels around a mask, whose axes may be turned so that the last is along B0.

    Attributes
    ----------
    shape
        Matrix size.
    spacing_mm
        Voxel edge.
    b0_direction
        Unit vector in the axes of this grid.
    matrix, offset
        ``native voxel = matrix @ voxel + offset``.
    """

    shape: tuple[int, int, int]
    spacing_mm: float
    b0_direction: tuple[float, float, float]
    matrix: npt.NDArray[np.float64]
    offset: npt.NDArray[np.float64]

    @cached_property
    def native_voxels(self) -> npt.NDArray[np.float64]:
        """Edge of this grid's voxels in native voxels, per native axis."""
        return np.linalg.norm(self.matrix, axis=1)

    def pull(self, volume: Volume, mask: Mask) -> tuple[Volume, Mask]:
        """Volume and mask on this grid.

        Values are continued across the mask's edge before cubic interpolation, so that the zeros
        outside do not bleed in; where this grid is coarser, what it cannot show is filtered out.
        """
        smooth = np.sqrt(np.maximum(self.native_voxels**2 - 1, 0)) / 2.355
        continued = gaussian_filter(_continued(volume, mask), smooth)
        where = {"matrix": self.matrix, "offset": self.offset, "output_shape": self.shape}
        inside = affine_transform(mask.astype(np.float32), order=1, **where) >= 0.5
        pulled = affine_transform(continued, order=3, mode="nearest", **where)
        return (pulled * inside).astype(np.float32), inside

    def push(self, volume: Volume, inside: Mask, native_mask: Mask) -> Volume:
        """Volume of this grid on the native one, inside ``native_mask``."""
        inverse = np.linalg.inv(self.matrix)
        native = affine_transform(
            _continued(volume, inside),
            inverse,
            -inverse @ self.offset,
            native_mask.shape,
            order=3,
            mode="nearest",
        )
        return (native * native_mask).astype(np.float32)


def isotropic_grid(
    mask: Mask,
    voxel_size_mm: Sequence[float],
    b0_direction: Sequence[float],
    spacing_mm: float,
    *,
    aligned: bool,
) -> Grid:
    """Grid that holds the mask.

    Parameters
    ----------
    mask
        On the native grid.
    voxel_size_mm, b0_direction
        Of the native grid.
    spacing_mm
        Voxel edge wanted.
    aligned
        Turn the axes by the smallest rotation that brings B0 onto the last axis.
    """
    size, b0 = np.asarray(voxel_size_mm, float), np.asarray(b0_direction, float)
    axes = _rotation_onto_z(b0) if aligned else np.eye(3)  # rows: the grid's axes in native mm
    corners = np.argwhere(mask)
    low, high = corners.min(0), corners.max(0)
    centre_mm = (low + high) / 2 * size
    box = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)])
    turned = ((low + box * (high - low)) * size - centre_mm) @ axes.T
    nx, ny, nz = (int(n) for n in np.ceil(np.ptp(turned, axis=0) / spacing_mm) + 3)
    matrix = np.diag(1 / size) @ axes.T * spacing_mm
    offset = centre_mm / size - matrix @ ((np.array([nx, ny, nz]) - 1) / 2)
    x, y, z = (float(component) for component in axes @ b0)
    return Grid((nx, ny, nz), spacing_mm, (x, y, z), matrix, offset)


def _rotation_onto_z(direction: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Smallest rotation ``R`` with ``R direction = z`` or ``-z``: the dipole has no sign."""
    b = direction / np.linalg.norm(direction)
    b = b if b[2] >= 0 else -b
    cross = np.array([b[1], -b[0], 0.0])  # b x z
    skew = np.array([[0, -cross[2], cross[1]], [cross[2], 0, -cross[0]], [-cross[1], cross[0], 0]])
    return np.eye(3) + skew + skew @ skew / (1 + b[2])


def _continued(volume: npt.NDArray[Any], mask: Mask) -> npt.NDArray[np.float32]:
    """Values outside the mask replaced by that of the nearest voxel inside."""
    nearest = distance_transform_edt(~mask, return_distances=False, return_indices=True)
    return volume[tuple(nearest)].astype(np.float32)
