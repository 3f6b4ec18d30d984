"""Which slices a figure shows, and of which values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from isdu_bids.reports.mosaic import PLANES, Row, View, Volume
from isdu_bids.reports.regions import NUCLEI


def three_planes(volume: Volume, view: View) -> list[Row]:
    """Two axial rows from the bottom up, a coronal and a sagittal one, all about equally wide."""
    n_across = 7
    axial_width, _ = view.size_mm("axial")
    sagittal_width, _ = view.size_mm("sagittal")
    n_sagittal = max(1, int(n_across * axial_width / sagittal_width))
    axial = np.linspace(0.15, 0.9, 2 * n_across)
    return [
        Row(volume, "axial", axial[:n_across]),
        Row(volume, "axial", axial[n_across:]),
        Row(volume, "coronal", np.linspace(0.15, 0.85, n_across)),
        Row(volume, "sagittal", np.linspace(0.2, 0.8, n_sagittal)),
    ]


def through_nuclei(labels: Volume, view: View) -> list[Row]:
    """Two axial and two coronal rows through the deep nuclei; near the middle without any."""
    shown = labels[view.box]
    nuclei = np.nonzero(np.isin(shown, [label for n in NUCLEI for label in n.labels]))
    rows = []
    for plane in ("axial", "coronal"):
        axis, *_ = PLANES[plane]
        first, last = (0.3, 0.7)
        if nuclei[axis].size:
            ends = np.percentile(nuclei[axis], (15, 90))  # beyond are tips and stray voxels
            first, last = ends / max(shown.shape[axis] - 1, 1)
        fractions = np.linspace(first, last, 4)
        rows += [Row(labels, plane, fractions[:2]), Row(labels, plane, fractions[2:])]
    return rows


def showing(volume: Volume, rows: Sequence[Row]) -> list[Row]:
    """Show another volume in the same slices."""
    return [replace(row, volume=volume) for row in rows]


def masked(volume: Volume, mask: Volume) -> Volume:
    """Put NaN, which is not drawn, outside a mask."""
    return np.where(mask.astype(bool), volume, np.nan)


def percentile(values: npt.ArrayLike, percent: float) -> float:
    """Return a percentile of the finite values; 1 where it is 0 or unknown, for scales."""
    array = np.asarray(values)
    finite = array[np.isfinite(array)]
    return (float(np.percentile(finite, percent)) if finite.size else 0.0) or 1.0
