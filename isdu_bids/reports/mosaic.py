"""Slices of a volume side by side, in anatomical orientation: what goes where on the paper.

Canvases are measured in millimetres, so voxels keep their aspect and all planes share one scale.
Left of the picture is left of the patient; the front is at the right of sagittal slices.
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
    """Parallel slices of one RAS volume, at fractions (0..1) of the view's box.

    Attributes
    ----------
    volume, plane, fractions
        What is cut, how and where.
    caption
        Written into the first slice.
    beside
        Whether it continues the line of the row before it.
    """

    volume: Volume
    plane: str
    fractions: npt.ArrayLike
    caption: str = ""
    beside: bool = False


@dataclass(frozen=True)
class View:
    """The box of an RAS grid that is shown."""

    affine: npt.NDArray[np.float64]
    box: Box

    @property
    def voxel_size_mm(self) -> tuple[float, float, float]:
        """Edges of a voxel."""
        return voxel_size_mm(self.affine)

    @classmethod
    def around(cls, mask: Volume, affine: npt.ArrayLike) -> View:
        """Bounding box of an RAS mask with a margin; the whole volume if the mask is empty."""
        sizes = voxel_size_mm(affine)
        margin = [round(_MARGIN_MM / size) for size in sizes]
        box = mask_box(torch.from_numpy(np.array(mask, dtype=bool)), margin)
        return cls(np.asarray(affine, dtype=float), box)

    def size_mm(self, plane: str) -> tuple[float, float]:
        """Width and height of one slice."""
        edges = [
            (cut.stop - cut.start) * size
            for cut, size in zip(self.box, self.voxel_size_mm, strict=True)
        ]
        del edges[PLANES[plane][0]]
        return edges[0], edges[1]

    def index(self, plane: str, fraction: float) -> int:
        """Slice of the box that is nearest to a fraction of it."""
        cut = self.box[PLANES[plane][0]]
        return int(np.round(fraction * (cut.stop - cut.start - 1)))

    def position_mm(self, plane: str, fraction: float) -> float:
        """World coordinate of the middle of a slice, along the axis that it cuts."""
        axis = PLANES[plane][0]
        voxel = [(cut.start + cut.stop - 1) / 2 for cut in self.box]
        voxel[axis] = self.box[axis].start + self.index(plane, fraction)
        return float((self.affine @ [*voxel, 1])[axis])

    def picture(self, row: Row) -> Volume:
        """Put the slices of a row side by side, first index upwards."""
        axis = PLANES[row.plane][0]
        shown = row.volume[self.box]
        positions = [self.index(row.plane, fraction) for fraction in np.ravel(row.fractions)]
        return np.concatenate([np.take(shown, i, axis).T for i in positions], axis=1)

    def canvas_mm(self, rows: Sequence[Row]) -> tuple[float, float]:
        """Width and height of a mosaic."""
        lines = [self._line_mm(line) for line in _lines(rows)]
        height = sum(height for _, height in lines) + _GAP_MM * (len(lines) - 1)
        return max(width for width, _ in lines), height

    def places(self, rows: Sequence[Row]) -> Iterator[tuple[Row, Extent]]:
        """Where on the canvas each row goes: lines from the top down, each centred."""
        canvas_width, _ = self.canvas_mm(rows)
        top = 0.0
        for line in _lines(rows):
            line_width, line_height = self._line_mm(line)
            left = (canvas_width - line_width) / 2
            for row in line:
                width, height = self._row_mm(row)
                yield row, (left, left + width, top - height, top)
                left += width + _GAP_MM
            top -= line_height + _GAP_MM

    def _row_mm(self, row: Row) -> tuple[float, float]:
        width, height = self.size_mm(row.plane)
        return width * np.size(row.fractions), height

    def _line_mm(self, line: Sequence[Row]) -> tuple[float, float]:
        widths, heights = zip(*map(self._row_mm, line), strict=True)
        return sum(widths) + _GAP_MM * (len(line) - 1), max(heights)


def _lines(rows: Sequence[Row]) -> list[list[Row]]:
    lines: list[list[Row]] = []
    for row in rows:
        if row.beside and lines:
            lines[-1].append(row)
        else:
            lines.append([row])
    return lines


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
