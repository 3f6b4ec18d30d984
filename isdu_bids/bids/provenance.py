"""Sidecars that say how each output was made: from which files, by which methods and weights."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from isdu_bids.bids.acquisition import Acquisition
from isdu_bids.bids.outputs import OUTPUTS, RAW_MAGNITUDE, RAW_PHASE, Output
from isdu_bids.citations import reference
from isdu_bids.errors import DataError

#: Acquisition parameters that are handed down from the raw sidecars where all of them agree.
HANDED_DOWN = (
    "Manufacturer",
    "ManufacturersModelName",
    "InstitutionName",
    "SoftwareVersions",
    "ReceiveCoilName",
    "ReceiveCoilActiveElements",
    "MRAcquisitionType",
    "ScanningSequence",
    "SequenceVariant",
    "SequenceName",
    "PulseSequenceType",
    "PulseSequenceDetails",
    "ImagingFrequency",
    "RepetitionTime",
    "FlipAngle",
    "PixelBandwidth",
    "ParallelAcquisitionTechnique",
    "ParallelReductionFactorInPlane",
    "ParallelReductionFactorOutOfPlane",
    "PartialFourier",
)

#: Facts that have a field of their own, so that a reader need not look into ``Processing``.
_FIELDS = {
    "phase_scaling": "PhaseScaling",
    "weights": "Weights",
    "weights_sha256": "WeightsSHA256",
    "weights_description": "WeightsDescription",
    "segmentation": "Segmentation",
    "segmentation_sha256": "SegmentationWeightsSHA256",
    "segmentation_official": "OfficialWeights",
    "segmentation_scores_sha256": "ScoresWeightsSHA256",
    "reference": "ReferenceRegion",
    "reference_mean_ppm": "ReferenceMeanPpm",
    "reference_sd_ppm": "ReferenceStandardDeviationPpm",
    "reference_n_voxels": "ReferenceNumberOfVoxels",
}


def sidecar(
    acquisition: Acquisition,
    key: str,
    echo: int | None = None,
    *,
    sources: Collection[str] = (),
    facts: Mapping[str, Any] | None = None,
    flags: Collection[str] = (),
) -> dict[str, Any]:
    """Sidecar of an output: what the table, the scan and its processing say of it.

    Varying parameters are arrays: ``EchoTime`` lists all echoes unless the output is of one echo.

    Parameters
    ----------
    acquisition, key, echo
        As for `isdu_bids.bids.outputs.output_path`.
    sources
        Of `source_uris`.
    facts
        What processing decided, by name; those of the output's own steps are used.
    flags
        What a reader of this output must know.
    """
    output = OUTPUTS[key]
    fields = {
        "Description": output.description,
        "Sources": list(sources),
        "SkullStripped": output.skull_stripped,
        "Units": output.units,
        **output.sidecar,
        **(_acquisition_fields(acquisition, echo) if output.units is not None else {}),
        **_processing_fields(output, own_facts(output, facts or {})),
        "Flags": list(flags) or None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def own_facts(output: Output, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Facts of the steps that an output went through: those that start with a step's name."""
    return {
        name: value
        for name, value in facts.items()
        if any(name == step or name.startswith(f"{step}_") for step in output.made_by)
    }


def source_uris(
    output_dir: Path,
    acquisition: Acquisition,
    key: str,
    written: Mapping[str, Collection[Path]],
    made: Collection[str],
    facts: Mapping[str, Any],
) -> list[str]:
    """BIDS URIs of what an output was made from; a map that was not written stands for its own.

    Parameters
    ----------
    output_dir, acquisition, key
        As for `isdu_bids.bids.outputs.output_path`.
    written
        Key -> files of the outputs that this run writes.
    made
        Keys of the maps that there are, written or not.
    facts
        What processing decided: masks and labels may be the user's.
    """
    given = {"brain_mask": ("mask", acquisition.mask_file)}
    given["labels"] = ("segmentation", acquisition.dseg_file)
    step, file = given.get(key, ("", None))
    if file is not None and facts.get(step) == "user":
        return [file.as_uri()]
    uris: list[str] = []
    for source in OUTPUTS[key].sources:
        if source in (RAW_MAGNITUDE, RAW_PHASE):
            uris += _raw_uris(acquisition, source)
        elif source in written:
            uris += [f"bids::{path.relative_to(output_dir).as_posix()}" for path in written[source]]
        elif source in made:
            uris += source_uris(output_dir, acquisition, source, written, made, facts)
    return list(dict.fromkeys(uris))


def raw_uri(path: Path, subject: str) -> str:
    """BIDS URI of a file of the raw dataset.

    Examples
    --------
    >>> raw_uri(Path("/data/sub-01/anat/sub-01_echo-1_part-mag_MEGRE.nii.gz"), "01")
    'bids:raw:sub-01/anat/sub-01_echo-1_part-mag_MEGRE.nii.gz'

    Raises
    ------
    DataError
        If the file lies in the folder of another subject.
    """
    parts, folder = path.parts, f"sub-{subject}"
    if folder not in parts[:-1]:
        raise DataError(f"{path} does not lie in the folder {folder}; move or rename it")
    start = len(parts) - 1 - parts[::-1].index(folder)
    return "bids:raw:" + "/".join(parts[start:])


def _raw_uris(acquisition: Acquisition, source: str) -> list[str]:
    of_part = {RAW_MAGNITUDE: acquisition.magnitude_files, RAW_PHASE: acquisition.phase_files}
    files = of_part[source] or acquisition.real_files + acquisition.imag_files
    return [raw_uri(path, acquisition.subject) for path in files]


def _acquisition_fields(acquisition: Acquisition, echo: int | None) -> dict[str, Any]:
    metadata, times = acquisition.metadata, acquisition.echo_times_s
    return {
        "EchoTime": list(times) if echo is None else times[echo - 1],
        "MagneticFieldStrength": metadata.get(
            "MagneticFieldStrength", acquisition.field_strength_t
        ),
        **{name: metadata[name] for name in HANDED_DOWN if name in metadata},
    }


def _processing_fields(output: Output, facts: Mapping[str, Any]) -> dict[str, Any]:
    if not facts:
        return {}
    step = output.made_by[-1]
    cited = facts.get(f"{step}_reference")
    fields = {
        "EstimationAlgorithm": facts.get(step),
        "EstimationReference": str(reference(cited)) if cited else None,
        "Device": facts.get(f"{step}_device"),
        **{field: facts[name] for name, field in _FIELDS.items() if name in facts},
    }
    if output.key == "labels" and facts.get("segmentation") != "user":  # theirs may be either
        fields["Manual"] = False
    if output.key == "chi_csf_ppm":
        fields |= _reference_fields(facts["csf_reference"])
    if output.key == "regions":
        fields["BrainReference"] = _reference_fields(facts["brain_reference"])
        fields["CSFReference"] = _reference_fields(facts["csf_reference"])
    return {**fields, "Processing": dict(facts)}


def _reference_fields(found: Mapping[str, Any]) -> dict[str, Any]:
    names = {"region": "ReferenceRegion", "mean_ppm": "ReferenceMeanPpm"}
    names |= {"sd_ppm": "ReferenceStandardDeviationPpm", "n_voxels": "ReferenceNumberOfVoxels"}
    return {new: found[old] for old, new in names.items() if found[old] is not None}
