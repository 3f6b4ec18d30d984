"""The end of the corridor: quality measures, figures, BIDS derivatives."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
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

from isdu_bids import __version__, images
from isdu_bids.bids.acquisition import Acquisition
from isdu_bids.bids.derivatives import write_outputs
from isdu_bids.bids.layout import (
    failure_path,
    figure_folder,
    summary_path,
    thumbnail_path,
    viewer_folder,
)
from isdu_bids.bids.outdated import remove_outdated, remove_unfinished
from isdu_bids.bids.outputs import OUTPUTS
from isdu_bids.bids.provenance import HANDED_DOWN
from isdu_bids.citations import opening_sentence
from isdu_bids.files import write_json
from isdu_bids.geometry import voxel_size_mm
from isdu_bids.interfaces.base import Notes, Step, combined_magnitude
from isdu_bids.quality.flags import flags_of_steps
from isdu_bids.quality.maps import MAP_NAMES, ScanMaps
from isdu_bids.quality.measures import measure_scan
from isdu_bids.quality.record import (
    ScanRecord,
    all_flags,
    further_processing,
    made_now,
    weights_flags,
    weights_sentences,
    write_record,
)
from isdu_bids.quality.segmentation import measure_segmentation
from isdu_bids.reports.figures import draw_figures
from isdu_bids.reports.template import remove_other_figures
from isdu_bids.reports.thumbnail import write_thumbnail
from isdu_bids.reports.viewer import write_viewer
from isdu_bids.segmentation.labels import REGIONS

_STACKS = ("magnitude", "phase", "unwrapped", "iterates")
#: What steps hand over as JSON.
_TABLES = ("regions",)
#: What a step at the end takes: what is measured or drawn, and what is written.
_WRITTEN = ("magnitude", *OUTPUTS)


def _takes(names: Iterable[str]) -> type[BaseInterfaceInputSpec]:
    """Input for files by the names of maps; what the scan does not have stays undefined."""
    return type("_Maps", (BaseInterfaceInputSpec,), {name: File(exists=True) for name in names})


def _load(inputs: Any, names: Iterable[str]) -> dict[str, Any]:
    """Read those of the named maps that there are."""
    return {name: _read(name, getattr(inputs, name)) for name in names if _given(inputs, name)}


def _given(inputs: Any, name: str) -> bool:
    return isdefined(getattr(inputs, name))


def _read(name: str, path: str) -> Any:
    if name in _TABLES:
        return json.loads(Path(path).read_text())
    return (
        images.load_stack([Path(path)]).data if name in _STACKS else images.load_volume(path).data
    )


class _ScanInput(_takes([*MAP_NAMES, *_TABLES])):  # type: ignore[misc]
    acquisition = traits.Instance(Acquisition, mandatory=True)
    b0_direction = traits.Tuple(traits.Float, traits.Float, traits.Float, mandatory=True)
    lambdas = traits.List(traits.Float)


def _scan_maps(inputs: Any) -> ScanMaps:
    maps = _load(inputs, MAP_NAMES)
    if "labels" in maps:
        labels = maps["labels"].astype(np.int32)
        known = known_labels(_read("regions", inputs.regions))
        labels[~np.isin(labels, list(known))] = 0
        maps["labels"] = labels if labels.any() else None
    return ScanMaps(
        **maps,
        lambdas=inputs.lambdas if isdefined(inputs.lambdas) else (),
        affine=images.load_volume(inputs.chi_ppm).affine,
        b0_direction=inputs.b0_direction,
        field_strength_t=inputs.acquisition.field_strength_t,
        echo_times_s=inputs.acquisition.echo_times_s,
    )


class _QualityInput(_ScanInput):
    volumes = File(exists=True, desc="JSON of SegmentMagnitude")
    further = traits.List(File(exists=True), desc="JSON of measures by other steps")


class _QualityOutput(TraitedSpec):
    measures = File(exists=True, desc="one flat JSON object")


class MeasureQuality(Step):
    """Measure whether the map can be believed."""

    input_spec, output_spec = _QualityInput, _QualityOutput

    def _run_interface(self, runtime: Any) -> Any:
        measures = measure_scan(_scan_maps(self.inputs))
        if isdefined(self.inputs.regions):
            table = _read("regions", self.inputs.regions)
            known = known_labels(table)
            table["index"] = [index if index in known else None for index in table["index"]]
            volumes = json.loads(Path(self.inputs.volumes).read_text())
            measures |= measure_segmentation(table, **with_labels(volumes))
        for path in self.inputs.further if isdefined(self.inputs.further) else []:
            measures |= json.loads(Path(path).read_text())
        self._results["measures"] = str(write_json(Path(runtime.cwd) / "measures.json", measures))
        return runtime


class _FiguresInput(_ScanInput):
    output_dir = traits.Str(mandatory=True)
    summary = File(exists=True, desc="of the maps that are drawn: they are written first")
    templates = traits.List(traits.Str, desc="whose figures other steps draw")


class _FiguresOutput(TraitedSpec):
    figures = traits.List(File(exists=True))


class DrawFigures(Step):
    """Draw the report's figures."""

    input_spec, output_spec = _FiguresInput, _FiguresOutput
    _always_run = True  # they live in the output folder, which the node's cache does not watch

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        folder = figure_folder(Path(inputs.output_dir), inputs.acquisition)
        maps, name = _scan_maps(inputs), inputs.acquisition.name
        drawn = draw_figures(maps, folder, name)
        write_viewer(maps, folder, name, viewer_folder(Path(inputs.output_dir)))
        write_thumbnail(
            thumbnail_path(Path(inputs.output_dir), name),
            maps.chi_ppm,
            maps.eroded_mask,
            maps.affine,
            brain=maps.brain_mask,
            labels=maps.labels,
        )
        remove_other_figures(folder, inputs.acquisition.name, inputs.templates)
        self._results["figures"] = [str(path) for path in drawn]
        return runtime


class _WriteInput(_takes(_WRITTEN)):  # type: ignore[misc]
    acquisition = traits.Instance(Acquisition, mandatory=True)
    b0_direction = traits.Tuple(traits.Float, traits.Float, traits.Float, mandatory=True)
    output_dir = traits.Str(mandatory=True)
    command = traits.Str("", usedefault=True, desc="of the run, for the record")
    write_fields = traits.Bool(True, usedefault=True)
    measures = File(exists=True, mandatory=True)
    notes = traits.List(File(exists=True), mandatory=True)
    flags = traits.List(traits.Str, desc="what the choice of steps leaves out")
    templates = traits.List(traits.Str, [], usedefault=True, desc="spaces of other steps")
    inputs_sha256 = traits.Str(
        "", usedefault=True, desc="checksum of everything that the scan was made from"
    )


class _WriteOutput(TraitedSpec):
    summary = File(exists=True, desc="the scan's record")


class WriteDerivatives(Step):
    """Write the BIDS derivatives of a scan and the record from which its report is made."""

    input_spec, output_spec = _WriteInput, _WriteOutput
    _always_run = True

    def _run_interface(self, runtime: Any) -> Any:
        inputs, scan, output_dir = (
            self.inputs,
            self.inputs.acquisition,
            Path(self.inputs.output_dir),
        )
        notes = Notes.merged(inputs.notes)
        facts, left_out = notes.summary, inputs.flags if isdefined(inputs.flags) else []
        facts = facts | {"inputs_sha256": inputs.inputs_sha256}
        met = [*notes.flags, *weights_flags(facts), *left_out]
        maps = with_derived(_load(inputs, _WRITTEN), facts)
        affine = images.load_volume(inputs.chi_ppm).affine
        record_file = summary_path(output_dir, scan)
        remove_unfinished(output_dir, scan)
        record_file.unlink(missing_ok=True)  # of a run that is cut short nothing passes for whole
        written = write_outputs(
            output_dir,
            scan,
            maps,
            affine,
            facts=facts,
            flags_of=partial(flags_of_steps, met),
            write_fields=inputs.write_fields,
        )
        remove_outdated(output_dir, scan, written, other_spaces=inputs.templates)
        measures = json.loads(Path(inputs.measures).read_text())
        measures = {name: float("nan") if v is None else v for name, v in measures.items()}
        record = ScanRecord(
            name=scan.name,
            echo_times_s=scan.echo_times_s,
            field_strength_t=scan.field_strength_t,
            shape=maps["chi_ppm"].shape,
            voxel_size_mm=voxel_size_mm(affine),
            b0_direction=inputs.b0_direction,
            scanner=scanner(scan),
            facts=facts,
            sentences=(
                opening_sentence(__version__),
                *notes.sentences,
                *weights_sentences(facts),
            ),
            measures=measures,
            flags=all_flags(met, measures),
            regions=maps.get("regions"),
            further_processing=further_processing(facts),
            metadata={name: scan.metadata[name] for name in HANDED_DOWN if name in scan.metadata},
            provenance=made_now(inputs.command),
        )
        self._results["summary"] = str(write_record(record_file, record))
        failure_path(output_dir, scan.name).unlink(missing_ok=True)  # of an earlier run
        return runtime


def with_derived(maps: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Add the outputs that are made of others: combined magnitude, names of labels, CSF reference.

    A segmentation that failed has no labels: nothing of it is written.
    """
    combined = combined_magnitude(maps["magnitude"])
    maps = {**maps, "magnitude_combined": combined, "field_magnitude": combined}
    for mask in ("brain_mask", "eroded_mask"):
        maps[mask] = maps[mask].astype(np.uint8)
    if "labels" not in maps or not maps["labels"].any():
        return {name: data for name, data in maps.items() if name not in ("labels", "regions")}
    maps["labels"] = maps["labels"].astype(np.int32)
    maps["label_names"] = label_table(maps["regions"])
    if facts["csf_reference"]["n_voxels"]:
        referenced = maps["chi_ppm"] - facts["csf_reference"]["mean_ppm"]
        maps["chi_csf_ppm"] = np.where(maps["eroded_mask"] > 0, referenced, 0)
    return maps


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
