"""Left and right of one structure side by side: the form in which a group is looked at."""

from __future__ import annotations

import pandas as pd

#: What the page and the tests look at, iron-rich nuclei first; everything else is in the tables.
MAIN = (
    "Pallidum", "Putamen", "Caudate", "Accumbens-area", "Thalamus", "VentralDC", "Hippocampus",
    "Amygdala", "Cerebral-Cortex", "Cerebral-White-Matter", "Cerebellum-Cortex",
    "Cerebellum-White-Matter", "Brain-Stem",
)  # fmt: skip
_MAX_OTHERS = 40


def structure_values(regions: pd.DataFrame) -> pd.DataFrame:
    """Mean susceptibility of the main structures, one row per scan, structure and side.

    Only what is ``included`` counts. Merged regions, which have no label of their own, are left
    out. A segmentation with names of its own is shown by those, up to 40 of them.

    Returns
    -------
    DataFrame
        The columns of the scan, ``protocol``, ``structure``, ``side`` (``L``, ``R`` or empty),
        ``value`` (ppm) and ``z``, how far it is from the others.
    """
    rows = regions[regions["included"] & regions["index"].notna()]
    rows = rows[rows["chi_mean_ppm"].notna()]
    structure = rows["name"].astype(str).str.replace(r"^(Left|Right)-", "", regex=True)
    shown = [name for name in MAIN if (structure == name).any()]
    shown = shown or list(dict.fromkeys(structure))[:_MAX_OTHERS]
    rows, structure = rows[structure.isin(shown)], structure[structure.isin(shown)]
    labels = [rows[column].astype(object) for column in ("acquisition", "reconstruction")]
    return pd.DataFrame(
        {
            "scan": rows["scan"].astype(object),
            "participant_id": rows["participant_id"].astype(object),
            "session_id": rows["session_id"].astype(object),
            "protocol": protocol(*labels),
            "structure": pd.Categorical(structure, shown, ordered=True),
            "side": rows["hemisphere"].astype(object).fillna(""),
            "value": rows["chi_mean_ppm"],
            "z": rows["robust_z"],
        }
    )


def protocol(acquisition: pd.Series, reconstruction: pd.Series) -> pd.Series:
    """Name of how a scan was made; scans of several ways are never put together.

    Examples
    --------
    >>> protocol(pd.Series(["gre", None]), pd.Series([None, None])).tolist()
    ['acq-gre', '']
    """
    parts = [
        (f"{key}-" + labels.astype(object)).fillna("")
        for key, labels in (("acq", acquisition), ("rec", reconstruction))
    ]
    return (parts[0] + "_" + parts[1]).str.strip("_")


def both_sides(values: pd.DataFrame) -> pd.DataFrame:
    """Mean of left and right where both count, and of what has no sides."""
    key = ["scan", "participant_id", "session_id", "structure"]
    grouped = values.groupby(key, observed=True, dropna=False)["value"]
    sides = values.groupby("structure", observed=True)["side"].nunique()
    complete = grouped.agg(["mean", "count"]).reset_index()
    needed = complete["structure"].map(sides).astype(int)
    return complete[complete["count"] == needed].rename(columns={"mean": "value"})
