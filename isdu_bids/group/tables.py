"""The tables of a group, and the dictionaries that describe their columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from isdu_bids.bids.names import parse_name
from isdu_bids.bids.outputs import OUTPUTS
from isdu_bids.group.read import PROCESSED, Scan
from isdu_bids.quality.flags import flags_of_steps
from isdu_bids.quality.record import ScanRecord
from isdu_bids.quality.words import describe
from isdu_bids.segmentation.statistics import STATISTICS_COLUMNS

Dictionary = dict[str, dict[str, Any]]

#: Regions of which less lies inside the map speak for their remainder, not for themselves.
MIN_COVERAGE = 0.5

#: Column -> entity, and what the dictionaries say of it.
_ENTITIES = {
    "participant_id": ("sub", "Participant"),
    "session_id": ("ses", "Session; n/a where the dataset has none"),
    "acquisition": ("acq", "Label of the acquisition in the names of the files"),
    "reconstruction": ("rec", "Label of the reconstruction in the names of the files"),
    "run": ("run", "Number of the run"),
}
SCAN_COLUMNS = ("scan", *_ENTITIES)
_TEXT = ("name", "hemisphere")
_NUMBERS = tuple(name for name in STATISTICS_COLUMNS if name not in _TEXT)
#: What was done, by the names of the facts: scans that differ in it can hardly be compared.
FACTS = (
    "mask", "offset", "unwrapping", "combination", "background", "inversion", "weights",
    "reference", "relaxation", "segmentation",
)  # fmt: skip
#: The same and what else makes scans alike, as columns of the table of quality, in words.
METHODS: Mapping[str, str] = {
    "software_version": "Version of isdu-bids",
    "field_strength_t": "Field strength (T)",
    "pipeline": "Section of the methods text",
    **{name: name.replace("_", " ").capitalize() for name in FACTS},
}


@dataclass(frozen=True)
class Cohort:
    """All scans of a group.

    Attributes
    ----------
    quality
        One row per scan, processed or not.
    regions
        One row per processed scan and region; ``included`` tells what group statistics count.
    flags
        One row per scan and remark: ``scan``, ``severity``, ``flag``, ``message``.
    """

    quality: pd.DataFrame
    regions: pd.DataFrame
    flags: pd.DataFrame


def collect(scans: Iterable[Scan]) -> Cohort:
    """Put scans, which may be read one by one, into tables."""
    rows, flags = [], []
    names: dict[str, list[Any]] = {name: [] for name in (*SCAN_COLUMNS, *_TEXT, "usable")}
    numbers = [np.empty((len(_NUMBERS), 0))]
    for scan in scans:
        entities = _entity_columns(scan.name)
        rows.append({"scan": scan.name, **entities, **_quality_row(scan)})
        if (record := scan.record) is None:
            continue
        flags += [(scan.name, flag.severity, flag.name, flag.message) for flag in record.flags]
        table = record.regions or {}
        n_rows = len(table.get("name", ()))
        nothing = [None] * n_rows
        numbers.append(np.array([table.get(name, nothing) for name in _NUMBERS], dtype=float))
        for name in _TEXT:
            names[name] += table.get(name, nothing)
        whole_scan = {"scan": scan.name, **entities, "usable": _is_usable(record)}
        for name, value in whole_scan.items():
            names[name] += [value] * n_rows
    regions = pd.DataFrame(dict(zip(_NUMBERS, np.concatenate(numbers, axis=1), strict=True)))
    regions = pd.DataFrame(
        {name: pd.Categorical(names[name]) for name in (*SCAN_COLUMNS, *_TEXT)}
    ).join(regions)
    usable = np.array(names["usable"], dtype=bool)
    regions["included"] = usable & (regions["coverage"] >= MIN_COVERAGE).to_numpy()
    for name in ("index", "n_voxels"):
        regions[name] = regions[name].astype("Int64")
    return Cohort(
        pd.DataFrame(rows),
        regions[[*SCAN_COLUMNS, *STATISTICS_COLUMNS, "included"]],
        pd.DataFrame(flags, columns=["scan", "severity", "flag", "message"]),
    )


def wide_table(cohort: Cohort) -> pd.DataFrame:
    """One row per processed scan, one column per region: mean susceptibility where it counts."""
    processed = cohort.quality.loc[cohort.quality["status"] == PROCESSED, list(SCAN_COLUMNS)]
    counted = cohort.regions[cohort.regions["included"]]
    order = list(dict.fromkeys(cohort.regions["name"]))
    # a region may have two rows, as itself and as a merged one of the same name: they are alike
    means = counted.groupby(["scan", "name"], observed=True)["chi_mean_ppm"].first().unstack()
    return processed.merge(means.reindex(columns=order).astype(float), "left", on="scan")


def _entity_columns(name: str) -> dict[str, str | None]:
    entities, _, _ = parse_name(f"{name}_scan")
    columns = {column: entities.get(key) for column, (key, _) in _ENTITIES.items()}
    return columns | {"participant_id": f"sub-{entities['sub']}"}


def _quality_row(scan: Scan) -> dict[str, Any]:
    row: dict[str, Any] = {"status": scan.status, "reason": scan.reason or None}
    if (record := scan.record) is None:
        return row
    for severity in ("error", "warning"):
        row[f"{severity}s"] = sum(flag.severity == severity for flag in record.flags)
    flagged = [flag.name for flag in record.flags if flag.severity != "info"]
    row |= {"flags": ",".join(dict.fromkeys(flagged)) or None}
    row |= {
        "field_strength_t": record.field_strength_t,
        "software_version": record.software_version,
    }
    row |= {"pipeline": record.pipeline}
    row |= {name: _choice(record.facts, name) for name in FACTS if name in record.facts}
    return row | dict(record.measures)


def _choice(facts: Mapping[str, Any], name: str) -> str:
    """Choice with its parameters, as the command line takes it."""
    parameters = facts.get(f"{name}_parameters", {})
    return ":".join([str(facts[name]), *(f"{key}={value}" for key, value in parameters.items())])


def _is_usable(record: ScanRecord) -> bool:
    """Whether no error concerns the regional values."""
    errors = [flag.name for flag in record.flags if flag.severity == "error"]
    return not flags_of_steps(errors, OUTPUTS["regions"].made_by)


def describe_regions() -> Dictionary:
    """Describe the columns of the long table."""
    return {
        **_describe_scan(),
        **STATISTICS_COLUMNS,
        "included": {
            "Description": "Whether group statistics count this row: no error concerns the scan, "
            f"and at least {MIN_COVERAGE:.0%} of the region lie inside the map"
        },
        "robust_z": {
            "Description": "Distance of an included chi_mean_ppm from the median of the region "
            "over the scans of the same acquisition and reconstruction, in standard deviations "
            "(from the median absolute deviation); n/a among fewer than ten"
        },
    }


def describe_wide(table: pd.DataFrame) -> Dictionary:
    """Describe the columns of the wide table."""
    regions = [str(name) for name in table.columns if name not in SCAN_COLUMNS]
    mean = "Mean susceptibility of {}; n/a where group_regions.tsv does not include it"
    return _describe_scan() | {
        name: {"Description": mean.format(name), "Units": "ppm"} for name in regions
    }


def describe_quality(table: pd.DataFrame) -> Dictionary:
    """Describe the columns of the table of quality."""
    known: Dictionary = {
        "status": {
            "Description": "What there is of the scan",
            "Levels": {
                "processed": "a map and its measures",
                "failed": "no map, because its last run failed",
                "unfinished": "it is being processed, or its run was stopped",
                "missing": "the participant level has not been run on it",
            },
        },
        "reason": {"Description": "Why it has no map, or why the run after its map failed"},
        "errors": {"Description": "Number of remarks that forbid the use of the map"},
        "warnings": {"Description": "Number of remarks that ask for a look at the map"},
        "flags": {"Description": "Short names of errors and warnings, worst first"},
        "field_strength_t": {"Description": "Strength of the main field", "Units": "T"},
        "software_version": {"Description": "Version of isdu-bids that processed the scan"},
        "pipeline": {"Description": "Name of its section in logs/CITATION.md, if it has several"},
        **{
            name: {"Description": f"Choice of the step '{name}', with parameters"} for name in FACTS
        },
    }
    known |= _describe_scan()
    return {str(name): known.get(name) or _describe_measure(str(name)) for name in table.columns}


def _describe_scan() -> Dictionary:
    scan = {"scan": {"Description": "Entities of the scan: what its files' names start with"}}
    return scan | {column: {"Description": text} for column, (_, text) in _ENTITIES.items()}


def _describe_measure(name: str) -> dict[str, Any]:
    measure = describe(name)
    text = f"Quality measure: {measure.label}. {measure.meaning}".strip()
    stored_unit = measure.unit.replace("mm³", "mm^3") if measure.scale == 1 else ""
    return {"Description": text, **({"Units": stored_unit} if stored_unit else {})}
