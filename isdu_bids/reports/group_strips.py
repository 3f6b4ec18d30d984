"""Distributions as rows of a page: where everything lies, in percent of the width of a row.

The page draws rows with boxes and links of HTML instead of one picture: they fit every width, are
read out and reached by keyboard, and an outlier leads to its subject.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.ticker import MaxNLocator
from scipy import stats

Values = npt.NDArray[np.float64]

#: Up to so many values each is a dot; of more only outliers are, and a curve shows the others.
_MAX_DOTS = 60
_MIN_FOR_BOX = 5
_MIN_FOR_CURVE = 10
_CURVE_POINTS = 60


@dataclass(frozen=True)
class Axis:
    """Range of values, widened to whole ticks."""

    low: float
    high: float
    ticks: tuple[float, ...]

    @classmethod
    def around(cls, values: Iterable[Values], n_ticks: int = 6) -> Axis:
        """Axis for several distributions; values beyond three boxes' lengths lie off it."""
        edges = [_fences(each) for each in values if each.size]
        low, high = min(low for low, _ in edges), max(high for _, high in edges)
        if low == high:
            low, high = low - 0.5, high + 0.5
        ticks = MaxNLocator(n_ticks).tick_values(low, high)
        return cls(ticks[0], ticks[-1], tuple(ticks))

    def at(self, value: float) -> float:
        """Position in percent, at most at the edges."""
        return float(np.clip(100 * (value - self.low) / (self.high - self.low), 0, 100))

    def label(self, tick: float) -> str:
        """Text of a tick, with as many decimals as the step needs."""
        step = (self.high - self.low) / (len(self.ticks) - 1)
        decimals = max(0, -int(np.floor(np.log10(step) + 1e-9)))
        decimals += not np.isclose(step * 10**decimals, round(step * 10**decimals))
        return f"{tick + 0.0:.{decimals}f}"


@dataclass(frozen=True)
class Dot:
    """One scan on a row; ``text`` says what it is, and outliers have a ``link``."""

    at: float
    offset: float
    text: str
    link: str = ""
    is_outlier: bool = False


@dataclass(frozen=True)
class Strip:
    """One distribution: median, dots, curve, and spans: a ``box`` and a ``whisker``.

    Boxes go from quartile to quartile, whiskers from 5 to 95 %; few values have neither.
    """

    name: str
    side: str
    n: int
    median: float
    spans: tuple[tuple[str, tuple[float, float]], ...]
    axis: Axis
    curve: str
    dots: tuple[Dot, ...]


def strip(
    table: pd.DataFrame, axis: Axis, links: Mapping[str, str], name: str, side: str = ""
) -> Strip:
    """Lay out one distribution.

    Parameters
    ----------
    table
        ``scan``, ``value`` and ``is_outlier``.
    axis
        That the row shares with others.
    links
        Name of a scan -> its page.
    """
    values = table["value"].to_numpy(float)
    p05, p25, p50, p75, p95 = np.percentile(values, [5, 25, 50, 75, 95])
    shown = table if len(table) <= _MAX_DOTS else table[table["is_outlier"]]
    rows = zip(shown["scan"], shown["value"], shown["is_outlier"], strict=True)
    dots = [
        Dot(
            axis.at(value),
            100 * ((i * 0.618) % 1),  # spread evenly, the same in every run
            f"{scan}: {value:.3g}",
            links.get(scan, ""),
            bool(is_outlier),
        )
        for i, (scan, value, is_outlier) in enumerate(rows)
    ]
    spans = (("whisker", (p05, p95)), ("box", (p25, p75))) if len(values) >= _MIN_FOR_BOX else ()
    return Strip(name, side, len(values), p50, spans, axis, _curve(values, axis), tuple(dots))


def strips(table: pd.DataFrame, by: list[str], axis: Axis, links: Mapping[str, str]) -> list[Strip]:
    """Rows for all groups of two columns: the name and the side of a row."""
    return [
        strip(part, axis, links, *_names(key))
        for key, part in table.groupby(by, observed=True, sort=True)
    ]


def _names(key: Hashable) -> tuple[str, str]:
    name, side = key if isinstance(key, tuple) else (key, "")
    return str(name), str(side)


def _fences(values: Values) -> tuple[float, float]:
    p25, p75 = np.percentile(values, [25, 75])
    reach = 3 * (p75 - p25)
    inside = values[(values >= p25 - reach) & (values <= p75 + reach)]
    return float(inside.min()), float(inside.max())


def _curve(values: Values, axis: Axis) -> str:
    """Outline of the density as an SVG path in a box of 100 x 100; empty for few values."""
    values = values[(values >= axis.low) & (values <= axis.high)]
    if len(values) < _MIN_FOR_CURVE or np.ptp(values) == 0:
        return ""
    x = np.linspace(axis.low, axis.high, _CURVE_POINTS)
    density = stats.gaussian_kde(values)(x)
    heights = 100 * (1 - density / density.max())
    points = " ".join(f"{axis.at(a):.1f},{b:.1f}" for a, b in zip(x, heights, strict=True))
    return f"M0,100 L{points} L100,100 Z"
