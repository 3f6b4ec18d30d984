"""Statistics of a group: who differs by what, left from right, and from session to session.

All functions return rows of one form: ``analysis``, ``structure``, ``contrast``, ``n``,
``estimate`` with its 95 % interval ``low`` and ``high`` in ``unit``, an ``effect_size`` of the kind
``effect``, ``p``, and ``p_fdr``: p after Benjamini and Hochberg's correction over all rows of an
analysis. Participants count once: scans of one participant are averaged unless they are compared.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

#: Columns of ``participants.tsv`` that are looked at.
COLUMNS = ("age", "sex", "group")
#: Fewer participants say nothing.
MIN_PARTICIPANTS = 10
#: Categories with fewer participants are left out, and so are columns with more categories.
MIN_PER_CATEGORY = 3
_MAX_CATEGORIES = 6
STATISTICS = (
    "analysis", "structure", "contrast", "n", "estimate", "low", "high", "unit", "effect",
    "effect_size", "p", "p_fdr",
)  # fmt: skip


def explanatory(participants: pd.DataFrame) -> pd.DataFrame:
    """Columns of ``participants.tsv`` that can explain something, by participant.

    Age becomes a number, sex the first letter in capitals (BIDS allows ``M``, ``male``, ...).
    """
    columns = {str(name).lower(): participants[name] for name in participants.columns}
    found = {name: columns[name] for name in COLUMNS if name in columns}
    if "age" in found:
        found["age"] = pd.to_numeric(found["age"], errors="coerce")
    if "sex" in found:
        found["sex"] = found["sex"].str.strip().str[:1].str.upper()
    table = pd.DataFrame(found, dtype=object)
    table.index = pd.Index(participants["participant_id"])
    return table


def associations(values: pd.DataFrame, participants: pd.DataFrame) -> pd.DataFrame:
    """Linear model of each structure on all columns together, so each is adjusted for the others.

    ``value ~ age + sex + group`` by ordinary least squares; the test of a column is its F-test
    given the others (type II). The effect size is Cohen's d of the adjusted difference for two
    categories (difference by residual standard deviation), the partial correlation for age, and
    partial eta squared for more categories.

    Parameters
    ----------
    values
        ``participant_id``, ``structure``, ``value``: both sides in one.
    participants
        Of `explanatory`.
    """
    means = values.groupby(["structure", "participant_id"], observed=True)["value"].mean()
    rows: list[dict[str, Any]] = []
    for structure, value in means.groupby(level=0, observed=True):
        table = participants.assign(value=value.droplevel(0)).dropna(subset=["value"])
        rows += [{"structure": structure, **row} for row in _model(table)]
    return _corrected("association", rows)


def _model(table: pd.DataFrame) -> list[dict[str, Any]]:
    import statsmodels.formula.api as smf  # a second, which only a group needs
    from statsmodels.stats.anova import anova_lm

    names = [name for name in COLUMNS if name in table and table[name].notna().mean() > 0.5]
    data = table[[*names, "value"]].dropna()
    for name in [name for name in names if name != "age"]:
        data = data[data.groupby(name)[name].transform("size") >= MIN_PER_CATEGORY]
    varying = [name for name in names if _varies(name, data[name])]
    if not varying or len(data) < MIN_PARTICIPANTS + len(varying):
        return []
    data = data.astype({"value": float} | ({"age": float} if "age" in data else {}))
    terms = {name: name if name == "age" else f"C({name})" for name in varying}
    fit = smf.ols("value ~ " + " + ".join(terms.values()), data).fit()
    tests = anova_lm(fit, typ=2)
    return [_effect(name, term, data, fit, tests) for name, term in terms.items()]


def _varies(name: str, column: pd.Series) -> bool:
    n = column.nunique()
    return n > 2 if name == "age" else 2 <= n <= _MAX_CATEGORIES


def _effect(
    name: str, term: str, data: pd.DataFrame, fit: Any, tests: pd.DataFrame
) -> dict[str, Any]:
    explained, residual = (float(tests["sum_sq"][row]) for row in (term, "Residual"))
    row: dict[str, Any] = {"n": len(data), "p": float(tests["PR(>F)"][term])}
    eta_squared = explained / (explained + residual)
    own = [parameter for parameter in fit.params.index if parameter.startswith(term)]
    if len(own) > 1:
        text = f"{name}: {', '.join(sorted(data[name].unique()))}"
        return row | {
            "contrast": text, "effect": "partial eta squared", "effect_size": eta_squared,
        }  # fmt: skip
    slope = fit.params[own[0]]
    low, high = fit.conf_int().loc[own[0]]
    row |= {"estimate": slope, "low": low, "high": high}
    if name == "age":
        r = np.sign(slope) * np.sqrt(eta_squared)
        return row | {
            "contrast": "age", "unit": "ppm/year", "effect": "partial r", "effect_size": r,
        }  # fmt: skip
    first, second = sorted(data[name].unique())
    return row | {
        "contrast": f"{name}: {second} − {first}",
        "unit": "ppm",
        "effect": "Cohen's d",
        "effect_size": slope / np.sqrt(fit.mse_resid),
    }


def asymmetry(values: pd.DataFrame) -> pd.DataFrame:
    """Left minus right of each structure, by a paired t-test over participants."""
    key = ["structure", "participant_id", "scan"]
    sides = values.pivot_table(index=key, columns="side", values="value", observed=True)
    if not {"L", "R"} <= set(sides.columns):
        return _corrected("asymmetry", [])
    difference = (sides["L"] - sides["R"]).dropna()
    per_participant = difference.groupby(level=[0, 1], observed=True).mean()
    return _corrected("asymmetry", _differences(per_participant, "left − right"))


def changes(values: pd.DataFrame) -> pd.DataFrame:
    """Each later session minus the first, by a paired t-test over participants.

    Sessions are in the order of their labels, numbers counting as such. Runs are averaged.

    Parameters
    ----------
    values
        ``participant_id``, ``session_id``, ``structure``, ``value``: both sides in one.
    """
    key = ["structure", "participant_id"]
    sessions = values.pivot_table(index=key, columns="session_id", values="value", observed=True)
    labels = sorted(sessions.columns, key=_natural)
    rows = []
    for later in labels[1:]:
        difference = (sessions[later] - sessions[labels[0]]).dropna()
        rows += _differences(difference, f"ses-{later} − ses-{labels[0]}")
    return _corrected("change", rows)


def reliability(values: pd.DataFrame) -> pd.DataFrame:
    """Intraclass correlation of repeated scans, once over runs and once over sessions.

    Parameters
    ----------
    values
        As of `changes`.
    """
    units = {
        "runs of one session": ["participant_id", "session_id"],
        "sessions": ["participant_id"],
    }
    per_session = values.groupby(
        ["structure", "participant_id", "session_id"], observed=True, dropna=False, as_index=False
    )["value"].mean()
    rows = []
    for contrast, unit in units.items():
        repeats = per_session if contrast == "sessions" else values
        for structure, part in repeats.groupby("structure", observed=True):
            measured = intraclass_correlation(part["value"], [part[name] for name in unit])
            if measured and measured["n"] >= MIN_PARTICIPANTS:
                rows.append({"structure": structure, "contrast": contrast, **measured})
    return _corrected("reliability", rows)


def intraclass_correlation(values: pd.Series, units: list[pd.Series]) -> dict[str, Any]:
    """ICC(1,1): one-way random effects, absolute agreement, one measurement.

    ``(MSB - MSW) / (MSB + (k - 1) MSW)`` with the mean squares between and within units, and ``k``
    the (adjusted mean) number of repeats. Units without a repeat do not count. Systematic changes
    between the repeats lower it.

    Parameters
    ----------
    values
        Measurements.
    units
        Columns that together name what was measured, for instance the participant.

    Returns
    -------
    dict
        ``n`` units, ``estimate`` with ``low`` and ``high``, and as effect the standard deviation
        within a unit (ppm); empty if there are fewer than two, or repeats do not differ.

    References
    ----------
    Shrout and Fleiss 1979, doi:10.1037/0033-2909.86.2.420.
    """
    unit = values.groupby(units, dropna=False, observed=True).agg(["size", "mean", "var"])
    unit = unit[unit["size"] > 1]
    n, total, size = len(unit), unit["size"].sum(), unit["size"]
    if n < 2:
        return {}
    grand = (size * unit["mean"]).sum() / total
    between = (size * (unit["mean"] - grand) ** 2).sum() / (n - 1)
    within = ((size - 1) * unit["var"]).sum() / (total - n)
    k = (total - (size**2).sum() / total) / (n - 1)
    if not within > 0:
        return {}
    ratio, freedom = between / within, (n - 1, total - n)
    bounds = ratio / stats.f.ppf([0.975, 0.025], *freedom)
    estimate, low, high = ((f - 1) / (f + k - 1) for f in (ratio, *bounds))
    return {
        "n": n,
        "estimate": estimate,
        "low": low,
        "high": high,
        "unit": "ICC(1,1)",
        "effect": "SD within (ppm)",
        "effect_size": np.sqrt(within),
        "p": stats.f.sf(ratio, *freedom),
    }


def _differences(difference: pd.Series, contrast: str) -> list[dict[str, Any]]:
    """Rows of paired t-tests, one per structure, where there are enough participants."""
    rows = []
    for structure, values in difference.groupby(level=0, observed=True):
        if len(values) < MIN_PARTICIPANTS or not values.std() > 0:
            continue
        test = stats.ttest_1samp(values, 0.0)
        interval = test.confidence_interval()
        rows.append(
            {
                "structure": structure,
                "contrast": contrast,
                "n": len(values),
                "estimate": values.mean(),
                "low": interval.low,
                "high": interval.high,
                "unit": "ppm",
                "effect": "Cohen's d of the differences",
                "effect_size": values.mean() / values.std(),
                "p": test.pvalue,
            }
        )
    return rows


def _corrected(analysis: str, rows: list[dict[str, Any]]) -> pd.DataFrame:
    from statsmodels.stats.multitest import multipletests

    table = pd.DataFrame(rows, columns=list(STATISTICS)).assign(analysis=analysis)
    if len(table):
        table["p_fdr"] = multipletests(table["p"], method="fdr_bh")[1]
    return table


def _natural(label: str) -> list[tuple[int, int | str]]:
    parts = re.findall(r"\d+|\D+", str(label))
    return [(0, int(part)) if part.isdigit() else (1, part) for part in parts]


def describe_statistics() -> Mapping[str, dict[str, Any]]:
    """Describe the columns of the table of statistics."""
    return {
        "protocol": {"Description": "Labels acq and rec of the scans; n/a where they have none"},
        "analysis": {
            "Description": "Question that is asked",
            "Levels": {
                "association": "linear model on age, sex and group of participants.tsv together",
                "asymmetry": "left against right, paired",
                "change": "a later session against the first, paired",
                "reliability": "intraclass correlation ICC(1,1) of repeated scans",
            },
        },
        "structure": {"Description": "Region, mean of its sides unless these are compared"},
        "contrast": {"Description": "What is compared"},
        "n": {"Description": "Number of participants, or of sessions with repeated runs"},
        "estimate": {"Description": "Difference, slope or intraclass correlation"},
        "low": {"Description": "Lower end of the 95 % confidence interval of the estimate"},
        "high": {"Description": "Upper end of the 95 % confidence interval of the estimate"},
        "unit": {"Description": "Unit of the estimate"},
        "effect": {"Description": "Kind of effect size"},
        "effect_size": {"Description": "Effect size"},
        "p": {"Description": "p-value of the two-sided test; one-sided for reliability"},
        "p_fdr": {
            "Description": "p after the correction of Benjamini and Hochberg for all rows of the "
            "same protocol and analysis"
        },
    }
