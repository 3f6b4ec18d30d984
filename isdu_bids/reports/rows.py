"""Which slices a figure shows, and of which values."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from isdu_bids.reports.mosaic import PLANES, Row, View, Volume
from isdu_bids.reports.regions import NUCLEI

#: Where slices lie in the box of an adult's brain (0: left, back, bottom): dentate nuclei, basal
#: ganglia and upper cortex; basal ganglia and dentate nuclei; beside the midline.
_BY_GEOMETRY = {"axial": (0.22, 0.46, 0.72), "coronal": (0.57, 0.27), "sagittal": (0.46,)}
_CEREBELLAR_WHITE_MATTER = (7, 46)
_BASAL_GANGLIA = (12, 13, 51, 52)

Slices = Mapping[str, tuple[float, ...]]


def choose_slices(view: View, brain: Volume, labels: Volume | None) -> Slices:
    """Choose the slices that all figures of a scan show, as fractions of the view's box.

    They go through the deep nuclei and the cortex, by the labels where there are any, otherwise
    where these lie in most brains.
    """
    inside = [
        np.flatnonzero(brain[view.box].any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))
    ]
    lengths = [max(cut.stop - cut.start - 1, 1) for cut in view.box]

    def in_box(plane: str, fraction: float) -> float:
        axis = PLANES[plane][0]
        if not inside[axis].size:
            return fraction
        first, last = inside[axis][[0, -1]]
        return float((first + fraction * (last - first)) / lengths[axis])

    def through(plane: str, fraction: float, wanted: Collection[int]) -> float:
        axis = PLANES[plane][0]
        places: Any = (
            () if labels is None else np.nonzero(np.isin(labels[view.box], list(wanted)))[axis]
        )
        return float(np.mean(places) / lengths[axis]) if len(places) else in_box(plane, fraction)

    low, middle, high = _BY_GEOMETRY["axial"]
    front, back = _BY_GEOMETRY["coronal"]
    return {
        "axial": (
            through("axial", low, _CEREBELLAR_WHITE_MATTER),
            through("axial", middle, _BASAL_GANGLIA),
            in_box("axial", high),
        ),
        "coronal": (
            through("coronal", front, _BASAL_GANGLIA),
            through("coronal", back, _CEREBELLAR_WHITE_MATTER),
        ),
        "sagittal": (in_box("sagittal", *_BY_GEOMETRY["sagittal"]),),
    }


def all_slices(volume: Volume, slices: Slices) -> list[Row]:
    """Axial slices, below them coronal ones and a sagittal one."""
    return [
        Row(volume, "axial", slices["axial"]),
        Row(volume, "coronal", slices["coronal"]),
        Row(volume, "sagittal", slices["sagittal"], beside=True),
    ]


def few_slices(volume: Volume, slices: Slices) -> list[Row]:
    """Basal ganglia twice and the sagittal slice, on one line: for comparisons."""
    return [
        Row(volume, "axial", slices["axial"][1]),
        Row(volume, "coronal", slices["coronal"][0], beside=True),
        Row(volume, "sagittal", slices["sagittal"], beside=True),
    ]


def through_nuclei(labels: Volume, view: View) -> list[Row]:
    """Two axial slices and a coronal one through the deep nuclei; near the middle without any."""
    shown = labels[view.box]
    nuclei = np.nonzero(np.isin(shown, [label for n in NUCLEI for label in n.labels]))
    rows: list[Row] = []
    for plane, part in (("axial", (0.35, 0.65)), ("coronal", (0.6,))):
        axis, *_ = PLANES[plane]
        first, last = (0.3, 0.7)
        if nuclei[axis].size:
            ends = np.percentile(nuclei[axis], (15, 90))  # beyond are tips and stray voxels
            first, last = ends / max(shown.shape[axis] - 1, 1)
        fractions = first + np.array(part) * (last - first)
        rows.append(Row(labels, plane, fractions, beside=bool(rows)))
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
