"""What the report says of a scan in words and numbers: rows of tables, for the page's template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from isdu_bids.background.registry import BACKGROUND
from isdu_bids.geometry import obliquity_deg
from isdu_bids.inversion.registry import INVERSION
from isdu_bids.masking.registry import MASKS
from isdu_bids.phase.registry import COMBINATION, OFFSET, RELAXATION, UNWRAPPING
from isdu_bids.quality.flags import Flag
from isdu_bids.quality.record import ScanRecord
from isdu_bids.quality.words import describe
from isdu_bids.registry import Registry
from isdu_bids.segmentation.registry import SEGMENTATION

#: Steps by the name of their fact, as the report calls them, with the methods that they choose of.
_STEPS: tuple[tuple[str, str, Registry | None], ...] = (
    ("phase_scaling", "Phase scale and sign", None),
    ("mask", "Brain mask", MASKS),
    ("offset", "Phase offset of the coils", OFFSET),
    ("unwrapping", "Phase unwrapping", UNWRAPPING),
    ("combination", "Field from the echoes", COMBINATION),
    ("relaxation", "R2* and T2*", RELAXATION),
    ("background", "Background field removal", BACKGROUND),
    ("inversion", "Dipole inversion", INVERSION),
    ("segmentation", "Regions", SEGMENTATION),
)
#: Ends of the names of facts that belong to a step and are told with it, or under Methods.
_STEP_FACTS = ("", "_parameters", "_device", "_reference")
_TOLD_ELSEWHERE = ("weights", "reference", "brain_reference", "csf_reference")
_GIVEN = {"user": "given by the user", "none": "left out"}
#: Parameters of the sequence, by the name that BIDS gives them: words and unit.
_SEQUENCE = {
    "PulseSequenceType": ("Sequence", ""),
    "MRAcquisitionType": ("Sequence, dimensions", ""),
    "RepetitionTime": ("Repetition time", "s"),
    "FlipAngle": ("Flip angle", "degrees"),
    "PixelBandwidth": ("Bandwidth", "Hz per pixel"),
    "ParallelAcquisitionTechnique": ("Acceleration", ""),
    "ParallelReductionFactorInPlane": ("Acceleration in plane", ""),
    "ParallelReductionFactorOutOfPlane": ("Acceleration through plane", ""),
    "PartialFourier": ("Partial Fourier", ""),
    "SoftwareVersions": ("Software of the scanner", ""),
    "ReceiveCoilName": ("Receive coil", ""),
}

Rows = list[tuple[str, str]]


@dataclass(frozen=True)
class MeasureRow:
    """A quality measure in words."""

    label: str
    value: str
    usual: str
    is_usual: bool
    meaning: str
    remedy: str


@dataclass(frozen=True)
class Verdict:
    """Whether a scan is usable, in one line; ``level`` is ``error``, ``warning`` or ``good``."""

    level: str
    text: str


def verdict(flags: Sequence[Flag]) -> Verdict:
    """Sum up the remarks on a scan."""
    n_errors = sum(flag.severity == "error" for flag in flags)
    n_warnings = sum(flag.severity == "warning" for flag in flags)
    if n_errors:
        return Verdict("error", f"Do not use: {_count(n_errors, 'error')}")
    if n_warnings:
        return Verdict("warning", f"Look before use: {_count(n_warnings, 'warning')}")
    return Verdict("good", "Usable: nothing remarkable was measured. Look at the maps.")


def measure_rows(measures: Mapping[str, float]) -> list[MeasureRow]:
    """All measures in words, those out of their usual range first."""
    rows = []
    for name, value in measures.items():
        words = describe(name)
        is_usual = words.is_usual(value)
        rows.append(
            MeasureRow(
                label=words.label[0].upper() + words.label[1:],
                value=words.shown(value),
                usual=words.shown_range(),
                is_usual=is_usual,
                meaning=words.meaning,
                remedy="" if is_usual else words.remedy,
            )
        )
    return sorted(rows, key=lambda row: row.is_usual)


def acquisition_rows(scan: ScanRecord) -> Rows:
    """Describe how the scan was acquired (consensus, Table 4)."""
    echo_times = ", ".join(f"{1e3 * te:.4g}" for te in scan.echo_times_s)
    direction = ", ".join(f"{component:.3f}" for component in scan.b0_direction)
    fov = (n * size for n, size in zip(scan.shape, scan.voxel_size_mm, strict=True))
    sequence = [
        (words, f"{plain(scan.metadata[name])} {unit}".strip())
        for name, (words, unit) in _SEQUENCE.items()
        if name in scan.metadata
    ]
    return [
        ("Scanner", scan.scanner),
        ("Field strength", f"{scan.field_strength_t:.4g} T"),
        ("Echo times", f"{echo_times} ms"),
        *sequence,
        ("Matrix", " × ".join(map(str, scan.shape))),
        ("Voxel size", " × ".join(f"{size:.4g}" for size in scan.voxel_size_mm) + " mm"),
        ("Field of view", " × ".join(f"{length:.0f}" for length in fov) + " mm"),
        ("Main field along the voxel axes", f"({direction}), {_degrees(scan)} oblique"),
    ]


def processing_rows(scan: ScanRecord) -> Rows:
    """Describe every step with its method in words and all of its parameters."""
    steps = [step for step in _STEPS if step[0] in scan.facts]
    rows = [(label, _step(scan.facts, fact, registry)) for fact, label, registry in steps]
    told = {f"{fact}{end}" for fact, *_ in steps for end in _STEP_FACTS}
    others = (
        (name.replace("_", " ").capitalize(), plain(value))
        for name, value in scan.facts.items()
        if name not in told and not name.startswith(_TOLD_ELSEWHERE)
    )
    return [*rows, *others]


def reporting_rows(scan: ScanRecord, selection: str) -> Rows:
    """Describe what the consensus makes mandatory beside acquisition and processing.

    References
    ----------
    QSM Consensus Organization Committee 2024, Table 5, doi:10.1002/mrm.30006.
    """
    further = "; ".join(scan.further_processing) or "none: maps keep the voxel grid of the scan"
    facts = scan.facts
    rows = [
        ("Software", f"isdu-bids {scan.software_version}"),
        ("Further processing", further),
        ("Unit and reference", f"ppm, referenced to: {plain(facts.get('reference'))}"),
    ]
    if facts.get("reference_mean_ppm") is not None:
        text = _region(facts["reference_mean_ppm"], facts["reference_sd_ppm"])
        rows.append(
            ("Reference region before referencing",
             f"{text}, {plain(facts.get('reference_n_voxels'))} voxels")
        )  # fmt: skip
    for name, label in (("brain_reference", "Whole map"), ("csf_reference", "Ventricles")):
        if (found := facts.get(name)) and found.get("mean_ppm") is not None:
            rows.append((label, f"{_region(found['mean_ppm'], found['sd_ppm'])}"))
    if "weights" in facts:
        rows.append(
            ("Departure from the recommendation",
             "the inversion is a neural network, not one of the recommended iterative methods; "
             "compare with the classical map above")
        )  # fmt: skip
    return [*rows, ("Inclusion and exclusion", selection)]


def plain(value: Any) -> str:
    """Show a value to a reader.

    Examples
    --------
    >>> plain([1.0, 0.123456]), plain(float("nan")), plain(True), plain(1.5e-11)
    ('1, 0.1235', 'n/a', 'yes', '0')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or (isinstance(value, float) and not isfinite(value)):
        return "n/a"
    if isinstance(value, float):
        return f"{value:.4g}" if 1e-4 <= abs(value) < 1e4 else f"{value:.0f}".lstrip("-")
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {plain(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(plain(item) for item in value)
    return str(value)


def _step(facts: Mapping[str, Any], fact: str, registry: Registry | None) -> str:
    chosen = str(facts[fact])
    method = registry[chosen] if registry is not None and chosen in registry else None
    sentences = [_GIVEN.get(chosen, method.description if method else plain(facts[fact]))]
    known = {p.name: p for p in method.parameters} if method else {}
    for name, value in facts.get(f"{fact}_parameters", {}).items():
        if value is None or name.startswith("weights"):
            continue
        words = known[name].help if name in known else name.replace("_", " ")
        unit = known[name].unit if name in known else ""
        sentences.append(f"{words}: {plain(value)} {unit}".strip())
    if fact == "inversion" and "weights" in facts:
        sentences.append(f"weights {facts['weights']} ({plain(facts.get('weights_description'))})")
        sentences.append(f"SHA-256 of the weights {facts.get('weights_sha256')}")
    if device := facts.get(f"{fact}_device"):
        sentences.append(f"computed on {device}")
    return "; ".join(sentences)


def _region(mean_ppm: float, sd_ppm: float) -> str:
    mean = f"{mean_ppm:+.4f}"
    mean = mean[1:] if float(mean) == 0 else mean
    return f"{mean} ± {sd_ppm:.4f} ppm (mean ± SD)"


def _degrees(scan: ScanRecord) -> str:
    return f"{obliquity_deg(scan.b0_direction):.1f}°"


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
