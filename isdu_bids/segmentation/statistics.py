"""Susceptibility and relaxation per anatomical region, as columns of one table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from isdu_bids.errors import DataError
from isdu_bids.segmentation.labels import (
    CORTEX,
    GROUPS,
    PARC_LABELS,
    REGIONS,
    SYNTHSEG_LABELS,
    Region,
)

Volume = npt.NDArray[Any]
Values = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
Row = dict[str, Any]

WHOLE_MASK = "Whole-Mask"
#: Lateral ventricles: the fluid furthest from bone, air and the veins of the sulci.
CSF_LABELS = (4, 43)
#: Below this the ventricles are not eroded: too few voxels would be left to be averaged.
_MIN_CSF_MM3 = 1000.0
#: Below this there is no reference: a few stray voxels would look like one.
_MIN_REFERENCE_MM3 = 250.0
_SIDES = {"left": "L", "right": "R"}
#: The cortex of a side is one region, whether it is divided into parcels or not.
_PARCELS = {
    cortex: tuple(label for label in PARC_LABELS if REGIONS[label].side == REGIONS[cortex].side)
    for cortex in CORTEX
}


def _column(description: str, units: str = "") -> dict[str, Any]:
    return {"Description": description} | ({"Units": units} if units else {})


_INSIDE = "over the voxels of the region inside the mask"

#: Every column of the table, in order, as its JSON sidecar describes it.
STATISTICS_COLUMNS: Mapping[str, dict[str, Any]] = MappingProxyType(
    {
        "index": _column("Label of the region in the segmentation; n/a for merged regions"),
        "name": _column("Name of the region"),
        "hemisphere": {
            **_column("Side of the region; n/a for the midline and for merged sides"),
            "Levels": {"L": "left", "R": "right"},
        },
        "n_voxels": _column("Number of voxels inside the mask; all other values but volume_mm3 "
                            "and coverage are taken from these"),
        "volume_mm3": _column("Volume of the whole region in the segmentation", "mm^3"),
        "coverage": _column("Fraction of the region that lies inside the mask, 0 to 1"),
        "chi_mean_ppm": _column(f"Mean susceptibility {_INSIDE}", "ppm"),
        "chi_median_ppm": _column(f"Median susceptibility {_INSIDE}", "ppm"),
        "chi_sd_ppm": _column(f"Standard deviation of the susceptibility {_INSIDE}", "ppm"),
        "chi_iqr_ppm": _column(f"Interquartile range of the susceptibility {_INSIDE}", "ppm"),
        "chi_p05_ppm": _column(f"5th percentile of the susceptibility {_INSIDE}", "ppm"),
        "chi_p95_ppm": _column(f"95th percentile of the susceptibility {_INSIDE}", "ppm"),
        "chi_weighted_mean_ppm": _column(
            f"Mean susceptibility {_INSIDE}, weighted by the probability of their label, so that "
            "uncertain voxels at the rim count less", "ppm"),
        "chi_positive_mean_ppm": _column(
            "Mean of the susceptibilities above zero, the reference of the map", "ppm"),
        "chi_negative_mean_ppm": _column(
            "Mean of the susceptibilities below zero, the reference of the map", "ppm"),
        "chi_mean_brain_referenced_ppm": _column(
            "chi_mean_ppm less the mean susceptibility of the mask", "ppm"),
        "chi_mean_csf_referenced_ppm": _column(
            "chi_mean_ppm less the mean susceptibility of the ventricles", "ppm"),
        "r2star_mean_per_s": _column(f"Mean R2* {_INSIDE} where it was fitted", "1/s"),
        "r2star_median_per_s": _column(f"Median R2* {_INSIDE} where it was fitted", "1/s"),
        "r2star_sd_per_s": _column(
            f"Standard deviation of R2* {_INSIDE} where it was fitted", "1/s"),
    }
)  # fmt: skip


@dataclass(frozen=True)
class Reference:
    """Region whose mean is subtracted, as the consensus asks to report it.

    Attributes
    ----------
    region
        Plain name.
    mean_ppm, sd_ppm
        Of the susceptibility in it; NaN if it is empty.
    n_voxels
        Its size.
    """

    region: str
    mean_ppm: float
    sd_ppm: float
    n_voxels: int


@dataclass(frozen=True)
class RegionStatistics:
    """Columns of the table, all of one length, and what the referenced ones refer to.

    Attributes
    ----------
    table
        The columns of `STATISTICS_COLUMNS`; None or NaN where there is no value.
    brain_reference, csf_reference
        Of ``chi_mean_brain_referenced_ppm`` and ``chi_mean_csf_referenced_ppm``.
    """

    table: dict[str, list[Any]]
    brain_reference: Reference
    csf_reference: Reference


def region_statistics(
    chi_ppm: Volume,
    labels: Volume,
    mask: Volume,
    *,
    voxel_volume_mm3: float,
    r2star_per_s: Volume | None = None,
    posterior: Volume | None = None,
    csf_labels: Sequence[int] = CSF_LABELS,
    groups: Mapping[str, Sequence[int]] = GROUPS,
    regions: Mapping[int, Region] = REGIONS,
    expected_labels: Iterable[int] = SYNTHSEG_LABELS,
) -> RegionStatistics:
    """Statistics of every label, of merged regions and of the whole mask, one row each.

    A region without a voxel in the mask keeps its row, with ``n_voxels`` 0 and no values.

    Parameters
    ----------
    chi_ppm
        Susceptibility, shape ``(x, y, z)``, valid inside the mask.
    labels
        Integer labels of that shape; 0 is background.
    mask
        Voxels that count, of that shape.
    voxel_volume_mm3
        Volume of a voxel.
    r2star_per_s
        R2* of that shape; 0 where it was not fitted, which is left out.
    posterior
        Probability of each voxel's label, of that shape: the weights.
    csf_labels
        Labels of the ventricles. They are eroded by one voxel where 1 ml is left of them.
    groups
        Merged regions: name -> labels.
    regions
        Names and sides of the labels.
    expected_labels
        Labels that get a row even if no voxel has them.

    Raises
    ------
    DataError
        If shapes differ, a label is no whole number, or a value in the mask is not finite.

    References
    ----------
    QSM Consensus Organization Committee 2024, doi:10.1002/mrm.30006 (what to report of a region
    and of a reference).
    """
    inside = np.asarray(mask > 0)
    maps = {"susceptibility": chi_ppm, "R2*": r2star_per_s, "posterior": posterior}
    labels = _checked(inside, labels, maps)
    nothing = np.zeros(int(inside.sum()))  # weighs nothing, was not fitted
    chi, weight, r2star = (
        nothing if volume is None else volume[inside].astype(np.float64)
        for volume in (chi_ppm, posterior, r2star_per_s)
    )
    brain = _reference("mask of the susceptibility map", chi_ppm[inside])
    csf = _ventricles(chi_ppm, labels, inside, csf_labels, voxel_volume_mm3)

    order = np.argsort(labels[inside], kind="stable")
    present, starts = np.unique(labels[inside][order], return_index=True)
    parts_of_order = np.split(order, starts[1:])  # one, and no label, for an empty mask
    voxels = dict(zip(present.tolist(), parts_of_order, strict=False))
    found, counts = np.unique(labels[labels > 0], return_counts=True)
    sizes = dict(zip(found.tolist(), counts.tolist(), strict=True))

    def row(
        index: int | None, name: str, side: str | None, where: Indices | slice, n_region: int
    ) -> Row:
        n_voxels = len(chi[where])
        return {
            "index": index,
            "name": name,
            "hemisphere": side,
            "n_voxels": n_voxels,
            "volume_mm3": n_region * voxel_volume_mm3,
            "coverage": n_voxels / n_region if n_region else None,
            **_values(chi[where], weight[where], r2star[where], brain, csf),
        }

    def region_row(index: int | None, name: str, members: Sequence[int]) -> Row:
        parts = [part for label in members for part in (label, *_PARCELS.get(label, ()))]
        where = np.concatenate([order[:0], *(voxels[part] for part in parts if part in voxels)])
        sides = {regions[label].side if label in regions else "" for label in members}
        side = _SIDES.get(sides.pop()) if len(sides) == 1 else None
        return row(index, name, side, where, sum(sizes.get(part, 0) for part in parts))

    rows = [
        region_row(label, regions[label].name if label in regions else f"label-{label}", [label])
        for label in sorted({*expected_labels, *sizes} - {0})
    ]
    rows += [region_row(None, name, members) for name, members in groups.items()]
    rows.append(row(None, WHOLE_MASK, None, slice(None), nothing.size))
    table = {column: [each[column] for each in rows] for column in STATISTICS_COLUMNS}
    return RegionStatistics(table, brain, csf)


def _values(chi: Values, weight: Values, r2star: Values, brain: Reference, csf: Reference) -> Row:
    p05, p25, p50, p75, p95 = _percentiles(chi, 5, 25, 50, 75, 95)
    mean = _mean(chi)
    fitted = r2star[r2star > 0]
    return {
        "chi_mean_ppm": mean,
        "chi_median_ppm": p50,
        "chi_sd_ppm": _sd(chi),
        "chi_iqr_ppm": p75 - p25,
        "chi_p05_ppm": p05,
        "chi_p95_ppm": p95,
        "chi_weighted_mean_ppm": float(chi @ weight / weight.sum()) if weight.any() else math.nan,
        "chi_positive_mean_ppm": _mean(chi[chi > 0]),
        "chi_negative_mean_ppm": _mean(chi[chi < 0]),
        "chi_mean_brain_referenced_ppm": mean - brain.mean_ppm,
        "chi_mean_csf_referenced_ppm": mean - csf.mean_ppm,
        "r2star_mean_per_s": _mean(fitted),
        "r2star_median_per_s": _percentiles(fitted, 50)[0],
        "r2star_sd_per_s": _sd(fitted),
    }


def _ventricles(
    chi_ppm: Volume,
    labels: Volume,
    inside: Volume,
    csf_labels: Sequence[int],
    voxel_volume_mm3: float,
) -> Reference:
    name = f"ventricles (labels {', '.join(map(str, csf_labels))})"
    fluid = np.isin(labels, csf_labels)
    core = ndimage.binary_erosion(fluid, border_value=1) & inside
    if core.sum() * voxel_volume_mm3 >= _MIN_CSF_MM3:
        return _reference(f"{name}, eroded by one voxel", chi_ppm[core])
    measured = chi_ppm[fluid & inside]
    if measured.size * voxel_volume_mm3 < _MIN_REFERENCE_MM3:
        return _reference(f"{name}, too small", measured[:0])
    return _reference(name, measured)


def _reference(region: str, chi: Volume) -> Reference:
    return Reference(region, _mean(chi), _sd(chi), chi.size)


def _checked(inside: Volume, labels: Volume, maps: Mapping[str, Volume | None]) -> Volume:
    """Labels as integers; every map has the shape of the mask and is finite inside."""
    for name, volume in {"segmentation": labels, **maps}.items():
        if volume is None:
            continue
        if volume.shape != inside.shape:
            raise DataError(
                f"the {name} has shape {volume.shape}, the mask {inside.shape}; resample them to "
                "one grid"
            )
        if n_bad := int((~np.isfinite(volume[inside])).sum()):
            raise DataError(
                f"the {name} has {n_bad} voxels inside the mask that are not finite; take them "
                "out of the mask"
            )
    if np.issubdtype(labels.dtype, np.integer):
        return labels
    whole = np.nan_to_num(labels).astype(np.int32)
    if not np.array_equal(whole, labels):
        raise DataError("the segmentation holds labels that are no whole numbers; was it smoothed?")
    return whole


def _mean(values: Volume) -> float:
    return float(values.mean(dtype=np.float64)) if values.size else math.nan


def _sd(values: Volume) -> float:
    return float(values.std(dtype=np.float64)) if values.size else math.nan


def _percentiles(values: Volume, *percents: float) -> list[float]:
    if not values.size:
        return [math.nan] * len(percents)
    return [float(value) for value in np.percentile(values, percents)]
