"""Whether a segmentation can be believed: measures per structure, and the remarks they call for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isnan, nan
from typing import Any, NamedTuple

from isdu_bids.quality.flags import Flag
from isdu_bids.segmentation.labels import SCORED

Measures = dict[str, float]


class _Structure(NamedTuple):
    name: str
    labels: tuple[int, ...]  # both sides
    low_mm3: float
    high_mm3: float


# About half to twice the typical volume of healthy adults of 18 to 94 years in FreeSurfer's
# definition (Potvin et al. 2016, doi:10.1016/j.neuroimage.2016.05.016); fluid as far as marked
# atrophy widens it. Sixteen heads in FreeSurfer's labels all lie inside.
# fmt: off
_STRUCTURES = (
    _Structure("cerebral_white_matter", (2, 41), 250_000, 800_000),
    _Structure("cerebral_cortex", (3, 42), 250_000, 850_000),
    _Structure("lateral_ventricle", (4, 43), 3_000, 150_000),
    _Structure("cerebellum_white_matter", (7, 46), 12_000, 60_000),
    _Structure("cerebellum_cortex", (8, 47), 55_000, 180_000),
    _Structure("thalamus", (10, 49), 7_000, 25_000),
    _Structure("caudate", (11, 50), 3_500, 14_000),
    _Structure("putamen", (12, 51), 5_000, 18_000),
    _Structure("pallidum", (13, 52), 1_500, 7_000),
    _Structure("hippocampus", (17, 53), 3_500, 14_000),
    _Structure("amygdala", (18, 54), 1_200, 6_000),
    _Structure("accumbens_area", (26, 58), 350, 2_500),
    _Structure("ventral_dc", (28, 60), 4_000, 15_000),
    _Structure("third_ventricle", (14,), 200, 8_000),
    _Structure("fourth_ventricle", (15,), 400, 8_000),
    _Structure("brain_stem", (16,), 10_000, 40_000),
)
# fmt: on
#: Nuclei whose susceptibility is asked for, and whose sides differ little in healthy adults.
_DEEP = ("thalamus", "caudate", "putamen", "pallidum")
#: What is measured by kind; otherwise these nuclei.
_NAMES = {"coverage": tuple(s.name for s in _STRUCTURES), "score": tuple(SCORED)}

#: Intracranial volume of adults: beyond it the head is cut off, or skin and bone were taken in.
_INTRACRANIAL_ML = (1000.0, 2000.0)
#: Kind of measure, when it is remarkable, and what a reader must be told.
_CHECKS: tuple[tuple[str, Callable[[float], bool], str], ...] = (
    # Half is a coin's toss between two labels.
    ("confidence", lambda v: v < 0.6,
     "the segmentation is unsure of its labels (mean probability below 0.6): {}"),
    # Below 0.2 in most healthy adults.
    ("asymmetry", lambda v: v > 0.3,
     "left and right differ by more than 30 % of their mean volume: {}; a lesion, or a "
     "segmentation that failed on one side"),
    # A customary threshold of these scores (doi:10.1073/pnas.2216399120).
    ("score", lambda v: v < 0.65,
     "SynthSeg's own score predicts poor labels (Dice below 0.65): {}; look at them on the image"),
    # Of a region that is mostly eroded away, what is left need not be like the rest.
    ("coverage", lambda v: v < 0.5,
     "less than half of the region lies inside the mask of the map: {}; its statistics describe "
     "a part of it"),
)  # fmt: skip


def measure_segmentation(
    table: Mapping[str, Sequence[Any]],
    *,
    soft_volumes_mm3: Mapping[int, float] | None = None,
    intracranial_mm3: float | None = None,
    confidence: Mapping[int, float] | None = None,
    scores: Mapping[str, float] | None = None,
) -> Measures:
    """Measure a segmentation.

    Parameters
    ----------
    table
        Columns ``index``, ``volume_mm3`` and ``coverage`` of the regions' statistics, as of
        `isdu_bids.segmentation.statistics.region_statistics`.
    soft_volumes_mm3
        Sums of the posteriors by label, which take the place of the table's volumes.
    intracranial_mm3
        Sum of all posteriors but the background's; NaN if the fluid around the brain has none.
    confidence
        Mean probability of the winning label, by label; only labels that occur.
    scores
        Dice scores that SynthSeg's own network predicts, by the names of
        `isdu_bids.segmentation.labels.SCORED`.

    Returns
    -------
    dict
        ``intracranial_volume_ml``, and per structure of both sides ``region_volume_*_mm3``,
        ``region_coverage_*`` and ``region_confidence_*`` (0 to 1, of the worse side), of deep
        nuclei also ``region_asymmetry_*``, ``2 |L - R| / (L + R)``; ``region_score_*`` of the
        groups of ``scores``. What was not given is left out; what cannot be measured is NaN.
    """
    rows = zip(table["index"], table["volume_mm3"], table["coverage"], strict=True)
    by_label = {index: (volume, coverage) for index, volume, coverage in rows if index is not None}
    volumes = {label: float(volume) for label, (volume, _) in by_label.items()}
    volumes |= {label: v for label, v in (soft_volumes_mm3 or {}).items() if label in volumes}
    coverages = {label: coverage for label, (_, coverage) in by_label.items()}
    measures: Measures = {}
    if intracranial_mm3 is not None:
        measures["intracranial_volume_ml"] = intracranial_mm3 / 1000
    for name, labels, *_ in _STRUCTURES:
        sides = [volumes[label] for label in labels if label in volumes]
        if len(sides) < len(labels):
            continue  # this segmentation does not know the structure
        measures[f"region_volume_{name}_mm3"] = sum(sides)
        measures[f"region_coverage_{name}"] = _lowest(coverages, labels)
        if confidence is not None and all(label in confidence for label in labels):
            measures[f"region_confidence_{name}"] = _lowest(confidence, labels)
        if name in _DEEP:
            left, right = sides
            total = left + right
            measures[f"region_asymmetry_{name}"] = 2 * abs(left - right) / total if total else nan
    return measures | {f"region_score_{name}": score for name, score in (scores or {}).items()}


def flag_segmentation(measures: Mapping[str, Any]) -> list[Flag]:
    """Remarks on a segmentation from its measures, one per kind, each naming the structures.

    An empty list is good news, or there is no segmentation. No value is changed.
    """
    flags = []
    intracranial_ml = measures.get("intracranial_volume_ml", nan)
    low_ml, high_ml = _INTRACRANIAL_ML
    if intracranial_ml < low_ml or intracranial_ml > high_ml:
        flags.append(
            _warning(
                "implausible_intracranial_volume",
                f"the segmentation holds {intracranial_ml:.0f} ml inside the skull, adults have "
                f"{low_ml:.0f} to {high_ml:.0f} ml: part of the head is cut off, or is no brain",
            )
        )
    volumes = [
        f"{_words(s.name)} {volume:.0f} ({s.low_mm3:.0f} to {s.high_mm3:.0f})"
        for s in _STRUCTURES
        if (volume := measures.get(f"region_volume_{s.name}_mm3", nan)) < s.low_mm3
        or volume > s.high_mm3
    ]
    if volumes:
        flags.append(
            _warning(
                "implausible_region_volume",
                f"volumes (mm³) that healthy adults hardly have: {', '.join(volumes)}; look at "
                "the labels on the image before using these regions",
            )
        )
    for kind, fires, message in _CHECKS:
        names = _NAMES.get(kind, _DEEP)
        values = {name: measures.get(f"region_{kind}_{name}", nan) for name in names}
        found = [f"{_words(name)} {value:.2f}" for name, value in values.items() if fires(value)]
        if found:
            flags.append(_warning(f"region_{kind}", message.format(", ".join(found))))
    unknown = [
        name for name, value in measures.items() if name.startswith("region_") and isnan(value)
    ]
    if unknown:
        flags.append(
            _warning("region_not_measured", f"could not be measured: {', '.join(unknown)}")
        )
    return flags


def _lowest(values: Mapping[int, float | None], labels: Sequence[int]) -> float:
    known = [value for label in labels if (value := values.get(label)) is not None]
    return float(min(known)) if len(known) == len(labels) else nan


def _words(name: str) -> str:
    return name.replace("_", " ")


def _warning(name: str, message: str) -> Flag:
    return Flag(name, "warning", message)
