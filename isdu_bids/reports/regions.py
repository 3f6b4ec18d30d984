"""The anatomical regions that a report shows, and their table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from math import isfinite
from typing import Any

import yaml

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
#: Rows of the table: their names, and the labels of left and right, or of the midline.
_ROWS = (
    *((nucleus.name, nucleus.labels) for nucleus in NUCLEI),
    ("Cerebral cortex", (3, 42)),
    ("Cerebral white matter", (2, 41)),
    ("Lateral ventricle", (4, 43)),
    ("Third ventricle", (14,)),
    ("Fourth ventricle", (15,)),
    ("Brain stem", (16,)),
    ("Cerebellar cortex", (8, 47)),
    ("Cerebellar white matter", (7, 46)),
)
#: Ends of the strips (ppm).
STRIP_PPM = (-0.1, 0.25)


@dataclass(frozen=True)
class Value:
    """A region on one side, as text; ``place`` is where its mean lies on the strip, in percent."""

    side: str
    chi: str
    median: str
    r2star: str
    volume: str
    coverage: str
    is_partial: bool
    place: float | None


@dataclass(frozen=True)
class RegionRow:
    """A row of the table: left and right of a region; ``expected`` are ends on the strip."""

    name: str
    sides: tuple[Value, ...]
    expected: tuple[float, float] | None
    expected_text: str = ""


def region_rows(table: Mapping[str, Sequence[Any]] | None) -> list[RegionRow]:
    """List main regions, left and right; of a segmentation with its own names, all of them.

    Parameters
    ----------
    table
        Columns of the regions' statistics, as of
        `isdu_bids.segmentation.statistics.region_statistics`; None: not segmented.
    """
    columns = table or {}
    cells = zip(*columns.values(), strict=True)
    rows = (dict(zip(columns, values, strict=True)) for values in cells)
    by_label = {row["index"]: row for row in rows if row["index"] is not None}
    main = [(name, [n for n in labels if n in by_label]) for name, labels in _ROWS]
    shown = [label for _, labels in main for label in labels]
    if shown and all(by_label[n]["name"] == REGIONS[n].name for n in shown):
        sides = {"left": "left", "right": "right", "midline": ""}
        return [
            _row(name, [(sides[REGIONS[n].side], by_label[n]) for n in labels])
            for name, labels in main
            if labels
        ]
    return [_row(row["name"], [("", row)]) for row in by_label.values()]


def expected_note() -> str:
    """Say what the expected values are, and whose."""
    return str(_expected()["note"])


def strip_place(chi_ppm: float) -> float:
    """Place of a value on the strip, in percent of its width."""
    low, high = STRIP_PPM
    return round(100 * min(max((chi_ppm - low) / (high - low), 0.0), 1.0), 1)


def _row(name: str, sides: Sequence[tuple[str, Mapping[str, Any]]]) -> RegionRow:
    values = tuple(_value(side, row) for side, row in sides)
    if name not in _expected()["regions"]:
        return RegionRow(name, values, None)
    mean, sd = _expected()["regions"][name]
    low, high = mean - 2 * sd, mean + 2 * sd
    text = f"{low:.3f} to {high:.3f}"
    return RegionRow(name, values, (strip_place(low), strip_place(high)), text)


def _value(side: str, row: Mapping[str, Any]) -> Value:
    mean = row["chi_mean_ppm"] if row["n_voxels"] else None
    known = mean is not None and isfinite(mean)
    chi = f"{_number(mean, '+.3f')} ± {_number(row['chi_sd_ppm'], '.3f')}" if known else "n/a"
    coverage = row["coverage"]
    return Value(
        side=side,
        chi=chi,
        median=_number(row["chi_median_ppm"], "+.3f"),
        r2star=_number(row["r2star_mean_per_s"], ".1f"),
        volume=_number(row["volume_mm3"], ".2f", 1e-3),
        coverage=_number(coverage, ".0f", 100) + (" %" if _number(coverage, "") != "n/a" else ""),
        is_partial=coverage is not None and coverage < 0.5,
        place=strip_place(float(mean)) if mean is not None and known else None,
    )


@cache
def _expected() -> dict[str, Any]:
    text = (files("isdu_bids") / "data" / "expected_chi.yml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(text))


def _number(value: float | None, form: str, factor: float = 1.0) -> str:
    return "n/a" if value is None or not isfinite(value) else f"{value * factor:{form}}"
