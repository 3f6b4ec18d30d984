"""Tables and tests that compare methods over subjects.

Scores are a long table: ``subject, method, family, metric, value``.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

SCORE_COLUMNS = ["subject", "method", "family", "metric", "value"]

_STYLE = (
    "body{font-family:sans-serif;margin:2em}table{border-collapse:collapse;margin:1em 0}"
    "th,td{padding:.3em .7em;border-bottom:1px solid #ccc;text-align:right}img{max-width:100%}"
)


def summarise(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean, SD (n - 1) and n of every metric, without its NaN values.

    Returns
    -------
    DataFrame
        ``method, family, metric, mean, sd, n``, in the order of the scores.
    """
    groups = scores.groupby(["method", "family", "metric"], sort=False)["value"]
    summary = groups.agg(mean="mean", sd="std", n="count")
    return summary.reset_index()


def paired_t_tests(scores: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """Two-tailed paired t-tests of a baseline method against every other one, metric by metric.

    Pairs are subjects that both methods have a finite value for. With fewer than two, or where
    all differences are the same, t and p are NaN. p is not corrected for the number of tests.

    Returns
    -------
    DataFrame
        ``family, metric, baseline, method, n, mean_difference`` (method less baseline), ``t, p``.
    """
    rows = []
    for (family, metric), group in scores.groupby(["family", "metric"], sort=False):
        values = group.pivot(index="subject", columns="method", values="value")
        values = values.replace([np.inf, -np.inf], np.nan)
        for method in group["method"].unique():
            if method == baseline:
                continue
            pairs = values[[baseline, method]].dropna()
            differences = pairs[method] - pairs[baseline]
            t, p = math.nan, math.nan
            if len(pairs) > 1 and np.ptp(differences) > 0:
                t, p = stats.ttest_rel(pairs[method], pairs[baseline])
            mean = differences.mean() if len(pairs) else math.nan
            rows.append((family, metric, baseline, method, len(pairs), mean, t, p))
    columns = ["family", "metric", "baseline", "method", "n", "mean_difference", "t", "p"]
    return pd.DataFrame(rows, columns=columns)


def method_by_metric(summary: pd.DataFrame) -> pd.DataFrame:
    """Text table for readers: a method per row, ``mean ± sd`` per metric, its family in the title.

    Column ``n`` is the largest number of subjects of a method; a cell from fewer says so.
    """
    most = summary.groupby("method", sort=False)["n"].max()
    table = pd.DataFrame({"n": most.astype(str)})
    for (family, metric), rows in summary.groupby(["family", "metric"], sort=False):
        cells = rows.set_index("method").apply(lambda row: _cell(row, most[row.name]), axis=1)
        table[f"{metric} [{family}]"] = cells
    return table.fillna("n/a")


def _cell(row: pd.Series[Any], most: int) -> str:
    if not row["n"]:
        return "n/a"
    text = f"{row['mean']:.4g}" if row["n"] == 1 else f"{row['mean']:.4g} ± {row['sd']:.2g}"
    return text if row["n"] == most else f"{text} (n = {row['n']})"


def to_markdown(table: pd.DataFrame) -> str:
    """Render a table with its index as the first column."""
    head = [str(table.index.name or ""), *map(str, table.columns)]
    rows = [[str(cell) for cell in row] for row in table.reset_index().itertuples(index=False)]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def to_html(title: str, tables: Mapping[str, pd.DataFrame], figures: Sequence[str]) -> str:
    """Render a page of tables by their captions, and of pictures beside it."""
    parts = [f"<h1>{html.escape(title)}</h1>"]
    for caption, table in tables.items():
        body = table.to_html(na_rep="n/a", border=0, float_format="{:.3g}".format)
        parts += [f"<h2>{html.escape(caption)}</h2>", body]
    parts += [f'<img src="{html.escape(name)}" alt="{html.escape(name)}">' for name in figures]
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{_STYLE}</style>'
    return f"<!DOCTYPE html><html><head>{head}</head><body>{''.join(parts)}</body></html>\n"
