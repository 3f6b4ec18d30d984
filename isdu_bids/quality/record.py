"""The record of a processed scan: what reports, group tables and users read, one JSON per scan."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from isdu_bids import __version__
from isdu_bids.citations import Sentence, pipeline_key
from isdu_bids.errors import DataError
from isdu_bids.files import read_json, write_json
from isdu_bids.geometry import Triple
from isdu_bids.quality.flags import Flag, processing_flags, worst_first
from isdu_bids.quality.measures import flag_scan
from isdu_bids.quality.segmentation import flag_segmentation
from isdu_bids.quality.template import flag_template

#: Of the fields below; a reader refuses others.
RECORD_VERSION = 1

_GRIDS = {
    "resampled": "the local field was resampled to the network's voxel size, and the map back to "
    "the grid of the scan",
    "aligned": "the local field was resampled to the network's voxel size along B0, and the map "
    "back to the grid of the scan",
}


@dataclass(frozen=True)
class ScanRecord:
    """A processed scan.

    Attributes
    ----------
    name
        Entities of the scan, e.g. ``sub-01_ses-1_run-2``: what its files' names start with.
    echo_times_s, field_strength_t, shape, voxel_size_mm, b0_direction, scanner
        The acquisition; the direction is a unit vector in voxel axes.
    facts
        What processing decided, by name: ``phase_scaling``, ``inversion``, ``weights``,
        ``reference``, ``reference_mean_ppm`` and so on, parameters included.
    sentences
        What was done, for the methods text.
    measures, flags
        Of `isdu_bids.quality`; flags come worst first.
    regions
        Columns of the regions' statistics; None: not segmented.
    further_processing
        Resampling and changes of headers, which the consensus asks to report; empty: none.
    metadata
        Of the sequence, by the names that BIDS gives them.
    provenance
        What made the maps: command, date, versions; a later report does not change it.
    software_version
        Of isdu-bids.
    version
        Of this record.
    """

    name: str
    echo_times_s: Sequence[float]
    field_strength_t: float
    shape: Sequence[int]
    voxel_size_mm: Triple
    b0_direction: Triple
    scanner: str = "not stated"
    facts: Mapping[str, Any] = field(default_factory=dict)
    sentences: tuple[Sentence, ...] = ()
    measures: Mapping[str, float] = field(default_factory=dict)
    flags: Sequence[Flag] = ()
    regions: Mapping[str, Sequence[Any]] | None = None
    further_processing: Sequence[str] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)
    software_version: str = __version__
    version: int = RECORD_VERSION

    @property
    def pipeline(self) -> str:
        """Name of what was done: that of its section in ``logs/CITATION.md``."""
        return pipeline_key(self.sentences)


def write_record(path: Path, record: ScanRecord) -> Path:
    """Write a record as JSON."""
    flags = [flag._asdict() for flag in record.flags]
    return write_json(path, {**asdict(record), "flags": flags, "pipeline": record.pipeline})


def read_record(path: Path) -> ScanRecord:
    """Read a record.

    Raises
    ------
    DataError
        If the file is damaged or holds a record of another version.
    """
    try:
        content = read_json(path)
        if content["version"] != RECORD_VERSION:
            raise ValueError(f"version {content['version']}, not {RECORD_VERSION}")
        lists = {f.name: content[f.name] for f in fields(ScanRecord)}
        measured = content["measures"].items()
        return ScanRecord(
            **lists
            | {
                "sentences": tuple((text, keys) for text, keys in content["sentences"]),
                "measures": {n: float("nan") if v is None else float(v) for n, v in measured},
                "flags": [Flag(**flag) for flag in content["flags"]],
            }
        )
    except (DataError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{path} is damaged or of another version ({error}); run it again"
        ) from error


def made_now(command: str) -> dict[str, str]:
    """Tell what makes maps: this command, now, with these versions on this machine."""
    packages = {package: version(package) for package in ("torch", "numpy", "nipype", "nibabel")}
    return {
        "Command": command,
        "Date": f"{datetime.now():%Y-%m-%d %H:%M}",
        "isdu-bids": __version__,
        "Python": platform.python_version(),
        **packages,
        "System": f"{platform.system()} {platform.release()} ({platform.machine()})",
    }


def all_flags(met: Iterable[str], measures: Mapping[str, Any]) -> list[Flag]:
    """All remarks on a scan, worst first: on what processing met, by name, and on its measures."""
    flags = [
        *processing_flags(met),
        *flag_scan(measures),
        *flag_segmentation(measures),
        *flag_template(measures),
    ]
    return worst_first(dict.fromkeys(flags))


def weights_flags(facts: Mapping[str, Any]) -> list[str]:
    """Names of remarks on a network's weights."""
    preliminary = "preliminary" in str(facts.get("weights_description", ""))
    return ["preliminary_weights"] if preliminary else []


def weights_sentences(facts: Mapping[str, Any]) -> list[Sentence]:
    """Sentences on a network's weights, their status and how it ran; none without a network."""
    if "weights" not in facts:
        return []
    parameters = facts.get("inversion_parameters", {})
    text = f"The network's weights are {facts['weights']} ({facts.get('weights_description')})"
    grid, precision = parameters.get("grid", "native"), parameters.get("precision", "single")
    on_grid = "" if grid == "native" else f"; it ran on the {grid} grid"
    half = "" if precision == "single" else f"; its denoisers ran in {precision} precision"
    return [(f"{text}{on_grid}{half}", "")]


def further_processing(facts: Mapping[str, Any]) -> list[str]:
    """Tell from its facts where a scan's maps were resampled."""
    grid = facts.get("inversion_parameters", {}).get("grid")
    spaces = [value for name, value in facts.items() if name.startswith("template_space_")]
    return [
        *([_GRIDS[grid]] if grid in _GRIDS else []),
        *(f"maps were also resampled to the template {space}" for space in spaces),
    ]
