"""Tables separated by tabs, as BIDS has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from isdu_bids.errors import DataError

#: Columns of a table: name -> values.
Table = Mapping[str, Sequence[Any]]


def tsv(table: Table) -> str:
    r"""Text of a table; BIDS writes ``n/a`` where there is no value.

    Examples
    --------
    >>> tsv({"index": [1, None], "mean_ppm": [0.05, float("nan")]})
    'index\tmean_ppm\n1\t0.05\nn/a\tn/a\n'
    """
    import pandas as pd  # half a second, which a query need not wait for

    columns = {name: pd.Series(list(values), dtype=object) for name, values in table.items()}
    if len({len(column) for column in columns.values()}) > 1:
        raise ValueError(f"columns of unequal length: {', '.join(table)}")
    frame = pd.DataFrame(columns).convert_dtypes()  # whole numbers stay whole beside n/a
    return str(frame.to_csv(sep="\t", na_rep="n/a", index=False, float_format="%.6g"))


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
    """Rows of a table, each with a value in all ``columns``.

    Raises
    ------
    DataError
        If it cannot be read, has no rows, or a value is missing.
    """
    import pandas as pd

    try:
        frame = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:  # pandas' own errors are values, too
        raise DataError(f"{path} cannot be read as a TSV ({error})") from error
    if not isinstance(frame.index, pd.RangeIndex):  # pandas took the first column for row names
        raise DataError(f"{path} cannot be read as a TSV (its rows are longer than its header)")
    if frame.empty:
        raise DataError(f"{path} has no rows below its header")
    rows = [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]
    for line, row in enumerate(rows, start=2):
        if missing := [name for name in columns if not row.get(name)]:
            raise DataError(
                f"{path}, line {line} has no {missing[0]!r}; needed are the columns "
                f"{', '.join(columns)}, separated by tabs"
            )
    return rows
