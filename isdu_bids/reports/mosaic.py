"""Slices of a volume side by side, in anatomical orientation: what goes where on the paper.

Canvases are measured in millimetres, so voxels keep their aspect and all planes share one scale.
Left of the picture is left of the patient.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation

from isdu_bids.geometry import voxel_size_mm
from isdu_bids.physics.padding import Box, mask_box

Volume = npt.NDArray[Any]
Extent = tuple[float, float, float, float]

#: Plane -> the axis of an RAS volume that it cuts, and the names of its left and right edges.
PLANES = {"axial": (2, "L", "R"), "coronal": (1, "L", "R"), "sagittal": (0, "P", "A")}

_MARGIN_MM = 5.0
_GAP_MM = 3.0


@dataclass(frozen=True)
class Row:
    """Parallel slices of one RAS volume, at fractions (0..1) of the view's box."""

    volume: Volume
    plane: str
    fractions: npt.ArrayLike
    caption: str = ""


@dataclass(frozen=True)
class View:
    """The box of an RAS grid that is shown."""

    voxel_size_mm: tuple[float, float, float]
    box: Box

    @classmethod
    def around(cls, mask: Volume, affine: npt.ArrayLike) -> View:
        """Bounding box of an RAS mask with a margin; the whole volume if the mask is empty."""
        sizes = voxel_size_mm(affine)
        margin = [round(_MARGIN_MM / size) for size in sizes]
        return cls(sizes, mask_box(torch.from_numpy(np.array(mask, dtype=bool)), margin))

    def size_mm(self, plane: str) -> tuple[float, float]:
        """Width and height of one slice."""
        edges = [
            (cut.stop - cut.start) * size
            for cut, size in zip(self.box, self.voxel_size_mm, strict=True)
        ]
        del edges[PLANES[plane][0]]
        return edges[0], edges[1]

    def picture(self, row: Row) -> Volume:
        """Put the slices of a row side by side, first index upwards."""
        axis = PLANES[row.plane][0]
        shown = row.volume[self.box]
        positions = np.round(np.asarray(row.fractions) * (shown.shape[axis] - 1)).astype(int)
        return np.concatenate([np.take(shown, i, axis).T for i in positions], axis=1)

    def canvas_mm(self, rows: Sequence[Row]) -> tuple[float, float]:
        """Width and height of a mosaic."""
        sizes = [self.size_mm(row.plane) for row in rows]
        width = max(np.size(row.fractions) * w for row, (w, _) in zip(rows, sizes, strict=True))
        return width, sum(h for _, h in sizes) + _GAP_MM * (len(rows) - 1)

    def places(self, rows: Sequence[Row]) -> Iterator[tuple[Row, Extent]]:
        """Where on the canvas each row goes: centred, from the top down."""
        canvas_width, _ = self.canvas_mm(rows)
        top = 0.0
        for row in rows:
            width, height = self.size_mm(row.plane)
            width *= np.size(row.fractions)
            left = (canvas_width - width) / 2
            yield row, (left, left + width, top - height, top)
            top -= height + _GAP_MM


def to_ras(volume: Volume, affine: npt.ArrayLike) -> tuple[Volume, npt.NDArray[np.float64]]:
    """Flip and permute the last three axes to the order nearest to right, anterior, superior.

    Returns
    -------
    volume
        The same voxels in the new order.
    affine
        The affine of the new order.
    """
    orientation = io_orientation(affine)
    spatial_first = np.moveaxis(volume, (-3, -2, -1), (0, 1, 2))
    turned = apply_orientation(spatial_first, orientation)
    turned_affine = np.asarray(affine) @ inv_ornt_aff(orientation, volume.shape[-3:])
    return np.moveaxis(turned, (0, 1, 2), (-3, -2, -1)), turned_affine
