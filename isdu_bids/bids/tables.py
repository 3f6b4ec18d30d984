"""Tables separated by tabs, as BIDS has them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from isdu_bids.errors import DataError


def read_label_names(path: Path) -> dict[int, str]:
    """Names of labels from a TSV with the columns ``index, name``.

    Raises
    ------
    DataError
        If it cannot be read so.
    """
    try:
        return {int(row["index"]): row["name"] for row in read_tsv(path, ("index", "name"))}
    except ValueError as error:
        raise DataError(f"{path}: the column index must hold integers ({error})") from error


def read_tsv(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a table as text, each with a value in all ``columns``.

    Raises
    ------
    DataError
        If it cannot be read, has no rows, or a value is missing.
    """
    try:
        table = pd.read_csv(path, sep="\t", dtype=str, encoding="utf-8-sig", na_filter=False)
    except (OSError, ValueError) as error:  # a ValueError is what pandas calls a bad table
        raise DataError(f"{path} cannot be read as a TSV ({error})") from error
    if not isinstance(table.index, pd.RangeIndex):  # pandas took the first column for names of rows
        raise DataError(f"{path} cannot be read as a TSV (its rows are longer than its header)")
    if table.empty:
        raise DataError(f"{path} has no rows below its header")
    rows: list[dict[str, str]] = table.fillna("").to_dict("records")
    for line, row in enumerate(rows, start=2):
        if missing := [name for name in columns if not row.get(name)]:
            raise DataError(
                f"{path}, line {line} has no {missing[0]!r}; needed are the columns "
                f"{', '.join(columns)}, separated by tabs"
            )
    return rows
