"""The end of the corridor: quality measures, figures, BIDS derivatives."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    TraitedSpec,
    isdefined,
    traits,
)

from isdu_bids import images
from isdu_bids.bids.acquisition import Acquisition
from isdu_bids.bids.layout import figure_folder, summary_path
from isdu_bids.bids.outputs import remove_outdated, write_output
from isdu_bids.files import write_json
from isdu_bids.geometry import voxel_size_mm
from isdu_bids.interfaces.base import Notes, Step, combined_magnitude
from isdu_bids.quality.measures import measure_scan
from isdu_bids.quality.segmentation import measure_segmentation
from isdu_bids.reports.figures import ScanFigures, draw_figures
from isdu_bids.reports.methods_text import citation
from isdu_bids.reports.template import remove_other_figures
from isdu_bids.segmentation.labels import REGIONS
from isdu_bids.segmentation.statistics import STATISTICS_COLUMNS
from isdu_bids.units import ppm_to_hz


class _ScanMapsInput(BaseInterfaceInputSpec):
    """The maps that every step at the end of the corridor takes."""

    magnitude = File(exists=True, mandatory=True)
    brain_mask = File(exists=True, mandatory=True)
    eroded_mask = File(exists=True, mandatory=True)
    total_field_ppm = File(exists=True, mandatory=True)
    local_field_ppm = File(exists=True, mandatory=True)
    quality = File(exists=True, mandatory=True)
    chi_ppm = File(exists=True, mandatory=True)


def _arrays(inputs: Any) -> dict[str, np.ndarray[Any, Any]]:
    names = _ScanMapsInput().copyable_trait_names()
    arrays = {name: images.load_volume(getattr(inputs, name)).data for name in names}
    return {**arrays, "magnitude": images.load_stack([inputs.magnitude]).data}


class _QualityInput(_ScanMapsInput):
    regions = File(exists=True, desc="JSON of MeasureRegions")
    volumes = File(exists=True, desc="JSON of SegmentMagnitude")
    further = traits.List(File(exists=True), desc="JSON of measures by other steps")
    echo_times_s = traits.List(traits.Float, mandatory=True)
    b0_direction = traits.Tuple(traits.Float, traits.Float, traits.Float, mandatory=True)


class _QualityOutput(TraitedSpec):
    measures = File(exists=True, desc="one flat JSON object")


class MeasureQuality(Step):
    """Measure whether the map can be believed."""

    input_spec, output_spec = _QualityInput, _QualityOutput

    def _run_interface(self, runtime: Any) -> Any:
        measures = measure_scan(
            **_arrays(self.inputs),
            echo_times_s=self.inputs.echo_times_s,
            voxel_size_mm=voxel_size_mm(images.load_volume(self.inputs.chi_ppm).affine),
            b0_direction=self.inputs.b0_direction,
        )
        if isdefined(self.inputs.regions):
            table = json.loads(Path(self.inputs.regions).read_text())
            table["index"] = [
                index if index in known_labels(table) else None for index in table["index"]
            ]
            volumes = json.loads(Path(self.inputs.volumes).read_text())
            measures |= measure_segmentation(table, **with_labels(volumes))
        for path in self.inputs.further if isdefined(self.inputs.further) else []:
            measures |= json.loads(Path(path).read_text())
        self._results["measures"] = str(write_json(Path(runtime.cwd) / "measures.json", measures))
        return runtime


class _FiguresInput(_ScanMapsInput):
    acquisition = traits.Instance(Acquisition, mandatory=True)
    output_dir = traits.Str(mandatory=True)
    wrapped = File(exists=True, mandatory=True)
    unwrapped = File(exists=True, mandatory=True)
    labels = File(exists=True)
    regions = File(exists=True, desc="JSON of MeasureRegions")
    templates = traits.List(traits.Str, desc="whose figures other steps draw")


class _FiguresOutput(TraitedSpec):
    figures = traits.List(File(exists=True))


class DrawFigures(Step):
    """Draw the report's figures."""

    input_spec, output_spec = _FiguresInput, _FiguresOutput
    _always_run = True  # they live in the output folder, which the node's cache does not watch

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        labels = None
        if isdefined(inputs.labels):
            table = json.loads(Path(inputs.regions).read_text())
            labels = images.load_volume(inputs.labels).data.astype(np.int32)
            labels[~np.isin(labels, list(known_labels(table)))] = 0
        scan = ScanFigures(
            **_arrays(inputs),
            labels=labels if labels is not None and labels.any() else None,
            wrapped_rad=images.load_stack([inputs.wrapped]).data,
            unwrapped_rad=images.load_stack([inputs.unwrapped]).data,
            affine=images.load_volume(inputs.chi_ppm).affine,
            field_strength_t=inputs.acquisition.field_strength_t,
            echo_times_s=inputs.acquisition.echo_times_s,
        )
        folder = figure_folder(Path(inputs.output_dir), inputs.acquisition)
        drawn = draw_figures(scan, folder, inputs.acquisition.name)
        remove_other_figures(folder, inputs.acquisition.name, inputs.templates)
        self._results["figures"] = [str(path) for path in drawn]
        return runtime


class _WriteInput(_ScanMapsInput):
    acquisition = traits.Instance(Acquisition, mandatory=True)
    b0_direction = traits.Tuple(traits.Float, traits.Float, traits.Float, mandatory=True)
    output_dir = traits.Str(mandatory=True)
    write_fields = traits.Bool(True)
    unwrapped = File(exists=True, mandatory=True)
    field_sd_ppm = File(exists=True, mandatory=True)
    chi_sd = File(exists=True)
    r2star = File(exists=True)
    t2star = File(exists=True)
    s0 = File(exists=True)
    labels = File(exists=True)
    regions = File(exists=True)
    measures = File(exists=True, mandatory=True)
    notes = traits.List(File(exists=True), mandatory=True)
    flags = traits.List(traits.Str, desc="what the choice of steps leaves out")
    templates = traits.List(traits.Str, [], usedefault=True, desc="spaces of other steps")


class _WriteOutput(TraitedSpec):
    summary = File(exists=True, desc="everything that the report says of the scan")


class WriteDerivatives(Step):
    """Write the BIDS derivatives of a scan and the summary from which its report is made."""

    input_spec, output_spec = _WriteInput, _WriteOutput
    _always_run = True

    def _run_interface(self, runtime: Any) -> Any:
        inputs, scan = self.inputs, self.inputs.acquisition
        output_dir = Path(inputs.output_dir)
        notes = Notes.merged(inputs.notes)
        notes.flags += inputs.flags if isdefined(inputs.flags) else []
        maps = _arrays(inputs)
        affine = images.load_volume(inputs.chi_ppm).affine
        combined = combined_magnitude(maps["magnitude"])

        written: list[Path] = []

        def write(key: str, data: Any, echo: int | None = None) -> None:
            fields, entities = sidecar(key, notes), label_entities(key, notes)
            path = write_output(output_dir, scan, key, data, affine, fields, echo, entities)
            written.append(path)

        write("chi", maps["chi_ppm"])
        write("magnitude_combined", combined)
        write("brain_mask", maps["brain_mask"].astype(np.uint8))
        write("eroded_mask", maps["eroded_mask"].astype(np.uint8))
        if inputs.write_fields:
            write("total_field", ppm_to_hz(maps["total_field_ppm"], scan.field_strength_t))
            write("local_field", ppm_to_hz(maps["local_field_ppm"], scan.field_strength_t))
            field_sd_ppm = images.load_volume(inputs.field_sd_ppm).data
            write("field_sd", ppm_to_hz(field_sd_ppm, scan.field_strength_t))
            write("field_magnitude", combined)
        for echo, volume in enumerate(images.load_stack([inputs.unwrapped]).data, start=1):
            write("unwrapped", volume, echo)
        for key in ("chi_sd", "r2star", "t2star", "s0"):
            if path := getattr(inputs, key) or None:
                write(key, images.load_volume(path).data)

        regions = None
        labels = images.load_volume(inputs.labels).data if isdefined(inputs.labels) else None
        if labels is not None and labels.any():
            labels = labels.astype(np.int32)
            regions = json.loads(Path(inputs.regions).read_text())
            write("dseg", labels)
            write("dseg_labels", label_table(regions))
            write("stats", regions)
            if notes.summary["csf_reference"]["n_voxels"]:
                inside = maps["eroded_mask"] > 0
                offset = notes.summary["csf_reference"]["mean_ppm"]
                write("chi_csf", np.where(inside, maps["chi_ppm"] - offset, 0))

        remove_outdated(output_dir, scan, written, other_spaces=inputs.templates)
        measures = json.loads(Path(inputs.measures).read_text())
        path = summary_path(output_dir, scan)
        write_json(
            path,
            {
                "name": scan.name,
                "acquisition": {
                    "echo_times_s": scan.echo_times_s,
                    "field_strength_t": scan.field_strength_t,
                    "shape": combined.shape,
                    "voxel_size_mm": voxel_size_mm(affine),
                    "b0_direction": inputs.b0_direction,
                    "scanner": scanner(scan),
                },
                "measures": measures,
                "regions": regions,
                **asdict(notes),
            },
        )
        self._results["summary"] = str(path)
        return runtime


def scanner(scan: Acquisition) -> str:
    """Manufacturer and model, as far as the sidecars tell."""
    names = (scan.metadata.get("Manufacturer"), scan.metadata.get("ManufacturersModelName"))
    return " ".join(str(name) for name in names if name) or "not stated"


def label_table(regions: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    """Names of the labels, as a table beside the segmentation."""
    rows = zip(regions["index"], regions["name"], strict=True)
    named = [(index, name) for index, name in rows if index is not None]
    return {"index": [index for index, _ in named], "name": [name for _, name in named]}


def known_labels(table: Mapping[str, Sequence[Any]]) -> set[int]:
    """Labels of a table of regions that have FreeSurfer's meaning, not one of the user's own."""
    rows = zip(table["index"], table["name"], strict=True)
    return {index for index, name in rows if index in REGIONS and REGIONS[index].name == name}


def with_labels(volumes: Mapping[str, Any]) -> dict[str, Any]:
    """Labels as numbers again, which JSON keeps as text; scores keep the names of groups."""
    return {
        name: {int(label): v for label, v in value.items()}
        if isinstance(value, dict) and name != "scores"
        else value
        for name, value in volumes.items()
    }


def label_entities(key: str, notes: Notes) -> dict[str, str]:
    """Entities of labels that are not SynthSeg's and must not carry its name."""
    others = {"user": "user", "regions_small": "small"}
    made_by = str(notes.summary.get("segmentation"))
    is_of_labels = key in ("dseg", "dseg_labels", "stats")
    return {"seg": others[made_by]} if is_of_labels and made_by in others else {}


def sidecar(key: str, notes: Notes) -> dict[str, Any]:
    """Fields that say how a map was made, beside those of the table of outputs."""
    facts = notes.summary
    fields: dict[str, Any] = {"PhaseScaling": facts["phase_scaling"]}
    if notes.flags:
        fields["Flags"] = notes.flags
    if key == "chi":
        fields |= {
            "EstimationAlgorithm": facts["inversion"],
            "EstimationReference": citation(facts["inversion_reference"]),
            "ReferenceRegion": facts["reference"],
            "ReferenceMeanPpm": facts["reference_mean_ppm"],
            "ReferenceStandardDeviationPpm": facts["reference_sd_ppm"],
            "Device": facts["inversion_device"],
            "Processing": facts,
        }
        weights = {"weights": "Weights", "weights_sha256": "WeightsSHA256"}
        weights["weights_description"] = "WeightsDescription"
        fields |= {new: facts[old] for old, new in weights.items() if old in facts}
    if key == "chi_csf":
        fields |= _reference_fields(facts["csf_reference"])
    if key in ("dseg", "stats"):
        names = {"segmentation": "Segmentation", "segmentation_sha256": "WeightsSHA256"}
        names |= {"segmentation_official": "OfficialWeights", "segmentation_device": "Device"}
        names["segmentation_judge_sha256"] = "ScoresWeightsSHA256"
        fields |= {new: facts[old] for old, new in names.items() if facts.get(old) is not None}
    if key == "dseg" and facts["segmentation"] != "user":  # theirs may be either
        fields["Manual"] = False
    if key == "stats":
        fields |= {
            **STATISTICS_COLUMNS,
            "BrainReference": _reference_fields(facts["brain_reference"]),
            "CSFReference": _reference_fields(facts["csf_reference"]),
        }
    return fields


def _reference_fields(reference: Mapping[str, Any]) -> dict[str, Any]:
    names = {"region": "ReferenceRegion", "mean_ppm": "ReferenceMeanPpm"}
    names |= {"sd_ppm": "ReferenceStandardDeviationPpm", "n_voxels": "ReferenceNumberOfVoxels"}
    return {new: reference[old] for old, new in names.items() if reference[old] is not None}
