"""The group level: read what there is, write its tables and its page."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from isdu_bids.bids.layout import thumbnail_path
from isdu_bids.errors import DataError, NoInputError
from isdu_bids.files import replacing, write_json, write_text
from isdu_bids.group import statistics, tables
from isdu_bids.group.outliers import LIMIT, scores
from isdu_bids.group.read import PROCESSED, Scan, expected_scans, read_scans
from isdu_bids.group.structures import both_sides, protocol, structure_values
from isdu_bids.quality.words import describe
from isdu_bids.reports.group_page import GroupPage, Protocol, render

_PAGE = "group.html"
_TABLES = {
    "group_regions.tsv": "statistics of every region, one row per scan and region",
    "group_regions_wide.tsv": "mean susceptibility, one row per scan, one column per region",
    "group_quality.tsv": "status, remarks, methods and quality measures, one row per scan",
    "group_statistics.tsv": "all tests of the page",
}


def write_group(output_dir: Path, bids_dir: Path) -> list[Path]:
    """Write tables and page of all scans into the root of the derivative dataset.

    Tables and page depend on the files of the participant level alone: a second run writes them
    again byte by byte. Scans that other jobs have not finished are listed as such.

    Parameters
    ----------
    output_dir
        Root of the derivative dataset.
    bids_dir
        Root of the raw dataset, for ``participants.tsv`` and the names of the scans that there
        should be.

    Returns
    -------
    list of Path
        The tables and the page.

    Raises
    ------
    NoInputError
        If the folder holds no processed scan.
    """
    participants = read_participants(bids_dir / "participants.tsv")
    cohort = tables.collect(_scans(output_dir, bids_dir, participants))
    if cohort.quality.empty or not (cohort.quality["status"] == PROCESSED).any():
        raise NoInputError(
            f"{output_dir} holds no processed scan; run 'isdu-bids {bids_dir} {output_dir} "
            "participant' first"
        )
    regions, wide = _scored(cohort.regions), tables.wide_table(cohort)
    protocols = list(_protocols(regions, statistics.explanatory(participants)))
    tested = _stacked(
        (each.statistics.assign(protocol=each.name or None) for each in protocols),
        ("protocol", *statistics.STATISTICS),
    )
    described = [
        (regions, tables.describe_regions()),
        (wide, tables.describe_wide(wide)),
        (cohort.quality, tables.describe_quality(cohort.quality)),
        (tested, statistics.describe_statistics()),
    ]
    for name, (table, dictionary) in zip(_TABLES, described, strict=True):
        write_table(output_dir / name, table, dictionary)
    page = GroupPage(
        quality=cohort.quality,
        flags=cohort.flags,
        measures=_measures(cohort.quality),
        methods=tables.METHODS,
        protocols=protocols,
        not_counted=_not_counted(regions),
        links=_links(output_dir, list(cohort.quality["scan"])),
        thumbnails=_thumbnails(output_dir, list(cohort.quality["scan"])),
        tables=_TABLES,
    )
    write_text(output_dir / _PAGE, render(page))
    return [output_dir / name for name in (*_TABLES, _PAGE)]


def count_scans(output_dir: Path, bids_dir: Path) -> dict[str, int]:
    """Status -> number of scans, without writing anything."""
    participants = read_participants(bids_dir / "participants.tsv")
    scans = _scans(output_dir, bids_dir, participants)
    return dict(Counter(scan.status for scan in scans))


def _scans(output_dir: Path, bids_dir: Path, participants: pd.DataFrame) -> Iterator[Scan]:
    ids = set(participants["participant_id"])
    return read_scans(output_dir, expected_scans(bids_dir), ids)


def read_participants(path: Path) -> pd.DataFrame:
    """Read ``participants.tsv`` as text, empty where there is none.

    Raises
    ------
    DataError
        If it has no column ``participant_id`` or names a participant twice.
    """
    if not path.exists():
        return pd.DataFrame({"participant_id": pd.Series(dtype=str)})
    try:
        table = pd.read_csv(path, sep="\t", dtype=str, na_values=["n/a"], encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a TSV ({error})") from error
    if "participant_id" not in table or not table["participant_id"].is_unique:
        raise DataError(f"{path} must have a column participant_id that names everyone once")
    table = table.dropna(subset=["participant_id"])
    labels = table["participant_id"].str.removeprefix("sub-")  # BIDS wants it, some forget it
    return table.assign(participant_id="sub-" + labels)


def write_table(path: Path, table: pd.DataFrame, dictionary: Mapping[str, Any]) -> None:
    """Write a table and the JSON file that describes its columns."""
    with replacing(path) as partial:
        table.to_csv(
            partial, sep="\t", na_rep="n/a", index=False, float_format="%.6g", lineterminator="\n"
        )
    write_json(path.with_suffix(".json"), dictionary)


def _scored(regions: pd.DataFrame) -> pd.DataFrame:
    """Add how far each included value is from those of the same region and protocol."""
    counted = regions[regions["included"]]
    made = protocol(counted["acquisition"], counted["reconstruction"])
    score = scores(counted["chi_mean_ppm"], [made, counted["name"]])
    return regions.assign(robust_z=score)


def _protocols(regions: pd.DataFrame, participants: pd.DataFrame) -> Iterator[Protocol]:
    """Values and tests of the scans of each protocol."""
    values = structure_values(regions)
    values["is_outlier"] = values["z"].abs() > LIMIT
    for name, own in values.groupby("protocol", sort=True):
        merged = both_sides(own)
        tests = [
            statistics.asymmetry(own),
            statistics.associations(merged, participants),
            statistics.changes(merged),
            statistics.reliability(merged),
        ]
        per_participant = ["participant_id", "structure"]
        means = merged.groupby(per_participant, observed=True, as_index=False)["value"].mean()
        means = means.join(participants, on="participant_id")
        yield Protocol(str(name), own, means, _stacked(tests, statistics.STATISTICS))


def _stacked(parts: Iterable[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    """Tables one below the other; unlike pandas' own it does not mind those without rows."""
    rows = [row for table in parts for row in table.to_dict("records")]
    return pd.DataFrame(rows, columns=list(columns))


def _measures(quality: pd.DataFrame) -> pd.DataFrame:
    """Numbers of the table of quality, one row per scan and measure."""
    known = (*tables.SCAN_COLUMNS, "errors", "warnings", "field_strength_t")
    numbers = quality.select_dtypes("number").drop(columns=list(known), errors="ignore")
    long = numbers.assign(scan=quality["scan"]).melt(
        "scan", var_name="measure", value_name="value"
    ).dropna()  # fmt: skip
    known_as = {name: describe(str(name)) for name in numbers}
    words = {name: f"{m.label} ({m.unit})" if m.unit else m.label for name, m in known_as.items()}
    outlying = scores(long["value"], [long["measure"]]).abs() > LIMIT
    shown = long["value"] * long["measure"].map({name: m.scale for name, m in known_as.items()})
    return long.assign(measure=long["measure"].map(words), value=shown, is_outlier=outlying)


def _not_counted(regions: pd.DataFrame) -> str:
    labelled = regions[regions["index"].notna() & (regions["volume_mm3"] > 0)]
    n_left_out = int((~labelled["included"]).sum())
    if not n_left_out:
        return ""
    return (
        f"Left out are {n_left_out} of {len(labelled)} values: of scans with an error, and of "
        f"regions of which less than {tables.MIN_COVERAGE:.0%} lie inside the map."
    )


def _links(output_dir: Path, scans: Sequence[str]) -> dict[str, str]:
    """Page of each scan that has one: of its session, or else of its subject."""
    pages = {entry.name for entry in os.scandir(output_dir) if entry.name.endswith(".html")}
    links: dict[str, str] = {}
    for scan in scans:
        subject, *others = scan.split("_")
        session = [f"{subject}_{part}.html" for part in others if part.startswith("ses-")]
        found = [page for page in (*session, f"{subject}.html") if page in pages]
        links |= {scan: found[0]} if found else {}
    return links


def _thumbnails(output_dir: Path, scans: Sequence[str]) -> dict[str, str]:
    paths = {scan: thumbnail_path(output_dir, scan) for scan in scans}
    return {s: p.relative_to(output_dir).as_posix() for s, p in paths.items() if p.exists()}
