"""A head drawn from ellipsoids, for the built-in demonstration and for tests: no data needed.

It is not anatomy, but it has what makes QSM hard: folded cortex, ventricles, iron-rich nuclei on
both sides, a skull, air in a sinus and in the ear canals.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from isdu_bids.simulation.random_fields import smooth_noise

Vector = tuple[float, float, float]

_SCALE = 0.93  # a small head: 1.3 litres inside the skull
#: Of the head in the volume (mm): no head lies in the middle, which would hide mirrored images.
_CENTRE_MM = (3.0, 2.0, 0.0)

#: Deep structures: left label, right label, centre of the right one (mm from the middle: right,
#: anterior, up), half axes (mm). Later ones overwrite earlier ones.
_PAIRS: tuple[tuple[int, int, Vector, Vector], ...] = (
    (4, 43, (11, -2, 14), (6, 26, 9)),
    (11, 50, (14, 14, 9), (6, 14, 9)),
    (10, 49, (11, -14, 4), (9, 14, 9)),
    (12, 51, (27, 4, 0), (7, 17, 11)),
    (13, 52, (20, 0, -1), (4.5, 9, 6)),
    (28, 60, (8, -14, -12), (5, 7, 5)),
    (17, 53, (27, -20, -16), (6, 15, 6)),
    (18, 54, (24, -2, -20), (6, 7, 6)),
)


def demo_head(
    shape: Sequence[int], voxel_size_mm: Sequence[float], generator: torch.Generator
) -> torch.Tensor:
    """FreeSurfer-style labels ``(x, y, z)`` of a drawn head; axes point right, anterior, up."""
    grids = [
        ((torch.arange(n) - (n - 1) / 2) * size - centre) / _SCALE
        for n, size, centre in zip(shape, voxel_size_mm, _CENTRE_MM, strict=True)
    ]
    x, y, z = torch.meshgrid(*grids, indexing="ij")

    def ellipsoid(centre: Vector, half_axes: Vector) -> torch.Tensor:
        return sum(  # type: ignore[return-value]
            ((axis - c) / half) ** 2
            for axis, c, half in zip((x, y, z), centre, half_axes, strict=True)
        )

    labels = torch.zeros(tuple(shape), dtype=torch.int16)
    labels[ellipsoid((0, 0, 0), (76, 92, 84)) < 1] = 511
    labels[ellipsoid((0, 0, 0), (71, 87, 79)) < 1] = 515
    labels[ellipsoid((0, 0, 0), (66, 82, 74)) < 1] = 24
    right = x > 0

    def paint(where: torch.Tensor, left: int, right_label: int) -> None:
        labels[where & ~right] = left
        labels[where & right] = right_label

    folds = smooth_noise(shape, voxel_size_mm, 14.0, generator)
    depth = ellipsoid((0, 0, 4), (63, 78, 66)).sqrt()
    cerebrum = (depth < 1) & (x.abs() > 1.0)
    sulcus = (folds.abs() < 0.10) & (depth > 0.72)
    ribbon = (depth > 0.94) | ((folds.abs() < 0.40) & (depth > 0.66))
    paint(cerebrum & ~sulcus, 2, 41)
    paint(cerebrum & ribbon & ~sulcus, 3, 42)
    cerebellum = ellipsoid((0, -42, -42), (46, 26, 22))
    paint(cerebellum < 1, 8, 47)
    paint(cerebellum < 0.45, 7, 46)
    labels[(ellipsoid((0, -18, -40), (11, 11, 34)) < 1) & (z > -72)] = 16
    for left, right_label, centre, half_axes in _PAIRS:
        mirrored = (-centre[0], centre[1], centre[2])
        labels[ellipsoid(mirrored, half_axes) < 1] = left
        labels[ellipsoid(centre, half_axes) < 1] = right_label
    labels[ellipsoid((0, -76, 20), (4, 5, 40)) < 1] = 514  # superior sagittal sinus
    labels[ellipsoid((0, 68, -42), (20, 14, 16)) < 1] = 0  # sphenoid and frontal sinus
    for side in (-1, 1):
        labels[ellipsoid((side * 66, -12, -40), (14, 4, 4)) < 1] = 0  # ear canals
    return labels
