"""Tables separated by tabs, as BIDS has them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

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
    """Rows of a table, each with a value in all ``columns``.

    Raises
    ------
    DataError
        If it cannot be read, has no rows, or a value is missing.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.DictReader(stream, delimiter="\t"))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a TSV ({error})") from error
    for line, row in enumerate(rows, start=2):
        if missing := [name for name in columns if not row.get(name)]:
            raise DataError(
                f"{path}, line {line} has no {missing[0]!r}; needed are the columns "
                f"{', '.join(columns)}, separated by tabs"
            )
    if not rows:
        raise DataError(f"{path} has no rows below its header")
    return rows
