"""The anatomical regions that a report shows, and their table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import isfinite
from typing import Any

from isdu_bids.segmentation.labels import CORTEX, PARC_LABELS, REGIONS


@dataclass(frozen=True)
class Outline:
    """What figures outline as one, in the colour of its first label."""

    name: str
    labels: tuple[int, ...]

    @property
    def colour(self) -> str:
        """As ``#rrggbb``."""
        return REGIONS[self.labels[0]].colour


#: Where iron is; substantia nigra and red nucleus are in the ventral diencephalon.
NUCLEI = (
    Outline("Pallidum", (13, 52)),
    Outline("Putamen", (12, 51)),
    Outline("Caudate", (11, 50)),
    Outline("Accumbens", (26, 58)),
    Outline("Thalamus", (10, 49)),
    Outline("Ventral DC", (28, 60)),
)
#: In the order of drawing. White matter has no outline of its own: its rim is that of the others.
OUTLINES = (
    Outline("Cortex", (*CORTEX, *PARC_LABELS[1:])),
    Outline("Cerebellum", (7, 46, 8, 47)),
    Outline("Brain stem", (16,)),
    Outline("Ventricles", (4, 43, 5, 44, 14, 15)),
    *NUCLEI,
)
#: Rows of the table: nuclei, cortex, white matter, ventricles, brain stem, cerebellum.
_MAIN_LABELS = (
    *(label for nucleus in NUCLEI for label in nucleus.labels),
    *(3, 42, 2, 41, 4, 43, 14, 15, 16, 8, 47, 7, 46),
)


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
    rows = _main_rows(table or {})
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


def _main_rows(table: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    rows = (dict(zip(table, values, strict=True)) for values in zip(*table.values(), strict=True))
    by_label = {row["index"]: row for row in rows if row["index"] is not None}
    main = [by_label[label] for label in _MAIN_LABELS if label in by_label]
    is_freesurfer = all(row["name"] == REGIONS[row["index"]].name for row in main)
    return main if main and is_freesurfer else list(by_label.values())


def _row_html(cells: Sequence[str]) -> str:
    name, *values = map(escape, cells)
    return f"<tr><th>{name}</th>{''.join(f'<td>{value}</td>' for value in values)}</tr>"


def _number(value: float | None, form: str, factor: float = 1.0) -> str:
    return "n/a" if value is None or not isfinite(value) else f"{value * factor:{form}}"
