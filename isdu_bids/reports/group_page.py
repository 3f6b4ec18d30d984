"""The page of a group: one screen that tells which scans to trust and what the cohort shows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, StrictUndefined

from isdu_bids.reports.group_strips import Axis, Strip, strip, strips

_MAX_OUTLIERS = 100
#: Structures for which age, sex and group are drawn.
_DRAWN = 6
#: Measures that differ by less, absolutely or relatively, do so by rounding.
_SAME = 1e-6
_NUMBER = re.compile(r"[-+±]?\d+(\.\d+)?")
_PANEL_PX = (300, 170)


@dataclass(frozen=True)
class Protocol:
    """Scans that were made in one way, which statistics put together.

    Attributes
    ----------
    name
        Labels ``acq`` and ``rec``; empty where there are none.
    values
        ``scan``, ``structure``, ``side``, ``value`` (ppm), ``z``, ``is_outlier``.
    means
        ``participant_id``, ``structure``, ``value`` (ppm, of both sides), and columns of
        ``participants.tsv``.
    statistics
        Rows of all analyses.
    """

    name: str
    values: pd.DataFrame
    means: pd.DataFrame
    statistics: pd.DataFrame


@dataclass(frozen=True)
class GroupPage:
    """What the page shows.

    Attributes
    ----------
    quality
        One row per scan, processed or not.
    flags
        ``scan``, ``severity``, ``flag``, ``message``.
    measures
        ``scan``, ``measure`` (in words, with its unit), ``value``, ``is_outlier``.
    methods
        Columns of ``quality`` that say how scans were processed.
    protocols
        Of the regional values.
    not_counted
        Number of regional values that statistics leave out, and why, in words.
    links, thumbnails
        Scan -> its page and its small picture, relative to this page, where there are any.
    tables
        Files beside the page -> what is in them.
    """

    quality: pd.DataFrame
    flags: pd.DataFrame
    measures: pd.DataFrame
    methods: Sequence[str]
    protocols: Sequence[Protocol]
    not_counted: str
    links: Mapping[str, str]
    thumbnails: Mapping[str, str]
    tables: Mapping[str, str]


@dataclass(frozen=True)
class Reason:
    """Scans that have one thing in common, each with what was said of it."""

    severity: str
    title: str
    scans: Sequence[tuple[str, str]]


def render(page: GroupPage) -> str:
    """Return the page as HTML; the same input gives the same text."""
    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    environment.filters |= {"signed": _signed, "p": _p, "number": _number}
    template = files("isdu_bids") / "data" / "reports" / "group.html.j2"
    processed = page.quality[page.quality["status"] == "processed"]
    outlying = {s for p in page.protocols for s in p.values.loc[p.values["is_outlier"], "scan"]}
    return environment.from_string(template.read_text(encoding="utf-8")).render(
        page=page,
        counts=page.quality["status"].value_counts().to_dict(),
        n_participants=page.quality["participant_id"].nunique(),
        n_errors=int((processed["errors"] > 0).sum()),
        n_warned=_n_warned(page.flags, len(processed)),
        reasons=_reasons(page),
        differing=_differing(page),
        alike=_alike(page),
        tiles=_tiles(page, outlying),
        n_outlying=len(outlying),
        protocols=[_protocol(protocol, page.links) for protocol in page.protocols],
        quality=_quality(page),
    )


def _reasons(page: GroupPage) -> list[Reason]:
    """Failed and missing scans by reason, then errors and warnings by what they say."""
    absent = page.quality[page.quality["status"] != "processed"]
    later = page.quality[(page.quality["status"] == "processed") & page.quality["reason"].notna()]
    said = [
        *zip(absent["status"], map(_general, absent["reason"], absent["scan"]),
             absent["scan"], absent["reason"], strict=True),
        *(("failed later", "a later run failed: the map is that of an earlier one", scan, reason)
          for scan, reason in zip(later["scan"], later["reason"], strict=True)),
    ]  # fmt: skip
    flags = page.flags[page.flags["severity"] != "info"]
    titles = {flag: _title(str(flag), said) for flag, said in flags.groupby("flag")["message"]}
    said += [
        (severity, titles[flag], scan, message)
        for scan, severity, flag, message in flags.itertuples(index=False)
    ]
    table = pd.DataFrame(said, columns=["severity", "title", "scan", "text"])
    order = ("failed", "error", "failed later", "missing", "unfinished", "warning")
    found = [
        Reason(str(severity), str(title), list(zip(part["scan"], part["text"], strict=True)))
        for (severity, title), part in table.groupby(["severity", "title"], sort=False)
    ]
    return sorted(found, key=lambda reason: (order.index(reason.severity), -len(reason.scans)))


def _n_warned(flags: pd.DataFrame, n_processed: int) -> int:
    """Count scans with a warning that not all scans have."""
    warnings = flags[flags["severity"] == "warning"]
    scans = warnings.groupby("flag")["scan"].transform("nunique")
    return int(warnings.loc[(scans < n_processed) | (n_processed == 1), "scan"].nunique())


def _title(flag: str, messages: pd.Series) -> str:
    """Tell what all messages of a flag say: they differ by numbers, or by more."""
    alike = messages.unique()
    general = {_NUMBER.sub("…", message) for message in alike}
    if len(alike) == 1 or len(general) == 1:
        return str(alike[0] if len(alike) == 1 else general.pop())
    return f"{_words(flag)}, for example: {alike[0]}"


def _general(reason: str, scan: str) -> str:
    """Reason without what is different for each scan."""
    short = re.sub(r"\s*\(details: [^)]*\)", "", reason).replace(scan, "…")
    return re.sub(r"(/\S+)+/", "…/", short).replace(scan.partition("_")[0], "…")


def _words(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _alike(page: GroupPage) -> dict[str, str]:
    processed = page.quality[page.quality["status"] == "processed"]
    return {
        _words(name): str(processed[name].iloc[0])
        for name in page.methods
        if name in processed and len(processed) and processed[name].nunique(dropna=False) == 1
    }


def _differing(page: GroupPage) -> dict[str, dict[Any, int]]:
    """Choice -> its values and how many scans have each, where there is more than one."""
    processed = page.quality[page.quality["status"] == "processed"]
    counted = {
        _words(name): processed[name].fillna("none").value_counts().sort_index().to_dict()
        for name in page.methods
        if name in processed
    }
    return {name: counts for name, counts in counted.items() if len(counts) > 1}


def _tiles(page: GroupPage, outlying: set[str]) -> list[dict[str, Any]]:
    processed = page.quality[page.quality["status"] == "processed"]
    rows = zip(processed["scan"], processed["errors"], processed["warnings"], strict=True)
    return [
        {
            "scan": scan,
            "link": page.links.get(scan, ""),
            "picture": page.thumbnails.get(scan, ""),
            "mark": "error" if errors else "outlier" if scan in outlying else "",
            "warnings": int(warnings),
        }
        for scan, errors, warnings in rows
    ]


def _protocol(protocol: Protocol, links: Mapping[str, str]) -> dict[str, Any]:
    values = protocol.values
    axis = _axis(values, ["structure", "side"])
    far = values[values["is_outlier"]].sort_values("z", key=abs, ascending=False, kind="stable")
    return {
        "name": protocol.name,
        "axis": axis,
        "strips": strips(values, ["structure", "side"], axis, links) if axis else [],
        "outliers": far.head(_MAX_OUTLIERS).to_dict("records"),
        "n_outliers": len(far),
        "analyses": {
            analysis: list(rows.to_dict("records"))
            for analysis, rows in protocol.statistics.groupby("analysis", sort=False)
        },
        "panels": _age_panels(protocol),
        "categories": _categories(protocol.means, links),
    }


def _axis(values: pd.DataFrame, by: list[str]) -> Axis | None:
    parts = [part["value"].to_numpy(float) for _, part in values.groupby(by, observed=True)]
    return Axis.around(parts) if parts else None


def _categories(means: pd.DataFrame, links: Mapping[str, str]) -> dict[str, list[Strip]]:
    """Distributions of the first structures by sex and by group."""
    drawn = means[means["structure"].isin(_first(means))]
    drawn = drawn.assign(scan=drawn["participant_id"], is_outlier=False)
    found = {}
    for name in ("sex", "group"):
        if name in drawn and 2 <= drawn[name].nunique() <= _DRAWN:
            rows = drawn.dropna(subset=[name])
            rows = rows.assign(**{name: rows[name].astype(str)})
            by = ["structure", name]
            if axis := _axis(rows, by):
                found[name] = strips(rows, by, axis, links)
    return found


def _first(means: pd.DataFrame) -> list[str]:
    structures = means["structure"].astype("category").cat.remove_unused_categories()
    return list(structures.cat.categories[:_DRAWN])


def _age_panels(protocol: Protocol) -> list[dict[str, Any]]:
    """Scatter of the first structures over age with the slope of the model, as SVG paths."""
    means = protocol.means
    if "age" not in means or means["age"].nunique() < 3:
        return []
    tested = protocol.statistics.query("analysis == 'association' and contrast == 'age'")
    slopes = dict(zip(tested["structure"], tested["estimate"], strict=True))
    table = means.dropna(subset=["age"]).astype({"age": float})
    ages = Axis.around([table["age"].to_numpy()], 5)
    panels = []
    for structure in _first(means):
        part = table[table["structure"] == structure]
        axis = Axis.around([part["value"].to_numpy(float)], 5)
        place = partial(_place, ages, axis)
        dots = (place(age, value) for age, value in zip(part["age"], part["value"], strict=True))
        panel = {"structure": structure, "x": ages, "y": axis, "n": len(part), "fit": ""}
        if structure in slopes:
            middle, level = part["age"].mean(), part["value"].mean()
            ends = (part["age"].min(), part["age"].max())
            line = (place(age, level + slopes[structure] * (age - middle)) for age in ends)
            panel["fit"] = "M" + " L".join(line)
        panels.append(panel | {"path": "".join(f"M{dot}h0" for dot in dots)})
    return panels


def _place(x: Axis, y: Axis, age: float, value: float) -> str:
    width, height = _PANEL_PX
    return f"{x.at(age) * width / 100:.1f},{height - y.at(value) * height / 100:.1f}"


def _quality(page: GroupPage) -> list[Strip]:
    """Distribution of each measure on an axis of its own, those that vary."""
    found = []
    for measure, part in page.measures.groupby("measure", sort=False):
        values = part["value"].to_numpy(float)
        if np.ptp(values) > _SAME * max(1.0, np.abs(values).max()):
            found.append(strip(part, Axis.around([values], 4), page.links, str(measure)))
    return found


def _signed(value: float, digits: int) -> str:
    return f"{round(value, digits) + 0.0:+.{digits}f}".replace("-", "−")


def _number(value: float) -> str:
    return f"{value:.4g}".replace("-", "−")


def _p(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"
