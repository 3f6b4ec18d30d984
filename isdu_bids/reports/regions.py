"""The anatomical regions that a report shows, and their table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import isfinite
from typing import Any

from isdu_bids.segmentation.labels import CORTEX, PARC_LABELS, REGIONS, mirrored


@dataclass(frozen=True)
class Structure:
    """A structure with both of its sides, as figures outline it.

    Attributes
    ----------
    name
        As a reader knows it.
    labels
        All of it: left and right, and the parcels of the cortex.
    colour
        ``#rrggbb``.
    """

    name: str
    labels: tuple[int, ...]
    colour: str


def _structure(label: int) -> Structure:
    parcels = [parcel for parcel in PARC_LABELS if parcel] if label in CORTEX else []
    name = REGIONS[label].name.removeprefix("Left-").replace("-", " ")
    return Structure(name, (label, mirrored(label), *parcels), REGIONS[label].colour)


#: Pallidum, putamen, caudate, accumbens, thalamus, ventral diencephalon (with substantia nigra and
#: red nucleus): where iron is.
DEEP_NUCLEI = tuple(map(_structure, (13, 12, 11, 26, 10, 28)))
#: Cortex, white matter, ventricles, brain stem, cerebellum.
_OTHERS = tuple(map(_structure, (3, 2, 4, 14, 15, 16, 8, 7)))
#: Everything that is worth a reader's look, in the order of the report.
STRUCTURES = (*DEEP_NUCLEI, *_OTHERS)


def regions_html(table: Mapping[str, Sequence[Any]] | None) -> str:
    """Table of the main regions, left and right; of a segmentation with its own names, of all.

    Parameters
    ----------
    table
        Columns of the regions' statistics, as of
        `isdu_bids.segmentation.statistics.region_statistics`; None: not segmented.

    Returns
    -------
    str
        HTML; empty if there is nothing to show.
    """
    if table is None:
        return ""
    rows = list(_shown_rows(table))
    if not rows:
        return ""
    columns = {
        "Region": [row["name"] for row in rows],
        "Volume (ml)": [_number(row["volume_mm3"], ".2f", 1e-3) for row in rows],
        "χ mean ± SD (ppm)": [
            f"{_number(row['chi_mean_ppm'], '+.4f')} ± {_number(row['chi_sd_ppm'], '.4f')}"
            if row["n_voxels"]
            else "n/a"
            for row in rows
        ],
        "χ median (ppm)": [_number(row["chi_median_ppm"], "+.4f") for row in rows],
        "R2* mean (1/s)": [_number(row["r2star_mean_per_s"], ".1f") for row in rows],
        "Inside the map": [_number(row["coverage"], ".0%") for row in rows],
    }
    shown = {name: cells for name, cells in columns.items() if set(cells) != {"n/a"}}
    head = "".join(f"<th>{escape(name)}</th>" for name in shown)
    body = "\n".join(_row_html(cells) for cells in zip(*shown.values(), strict=True))
    return f'<table class="regions">\n<tr>{head}</tr>\n{body}\n</table>'


def _shown_rows(table: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    rows = [dict(zip(table, values, strict=True)) for values in zip(*table.values(), strict=True)]
    by_label = {row["index"]: row for row in rows if row["index"] is not None}
    names = {label: row["name"] for label, row in by_label.items()}
    main = [label for structure in STRUCTURES for label in dict.fromkeys(structure.labels[:2])]
    is_freesurfer = all(names[label] == REGIONS[label].name for label in main if label in names)
    return (by_label[label] for label in (main if is_freesurfer else names) if label in names)


def _row_html(cells: Sequence[str]) -> str:
    name, *values = map(escape, cells)
    return f"<tr><th>{name}</th>{''.join(f'<td>{value}</td>' for value in values)}</tr>"


def _number(value: float | None, form: str, factor: float = 1.0) -> str:
    return "n/a" if value is None or not isfinite(value) else f"{value * factor:{form}}"
