"""Anatomical regions and the statistics of the maps in them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import (
    File,
    TraitedSpec,
    isdefined,
    traits,
)

from isdu_bids import images
from isdu_bids.bids.labels import label_meaning
from isdu_bids.errors import DataError, IsduError
from isdu_bids.files import finite, write_json
from isdu_bids.geometry import voxel_size_mm
from isdu_bids.interfaces.base import FilesInput, Step, combined_magnitude
from isdu_bids.segmentation.keras_weights import load_scores
from isdu_bids.segmentation.registry import SEGMENTATION
from isdu_bids.segmentation.segment import segment
from isdu_bids.segmentation.statistics import region_statistics


class _SegmentInput(FilesInput):
    magnitude = File(exists=True, mandatory=True, desc="stack of echoes")
    chi_ppm = File(exists=True, desc="susceptibility, for networks that see it too")
    method = traits.Str(desc="this and the next two as in MethodInput, without a user's labels")
    parameters = traits.Dict(traits.Str, traits.Any)
    checksums = traits.Dict(traits.Str, traits.Str)
    dseg_file = File(exists=True, desc="the user's labels, used instead")
    device = traits.Str("cpu")
    use_gpu = traits.Bool(False, nohash=True)


class _SegmentOutput(TraitedSpec):
    labels = File(exists=True)
    posterior = File(desc="probability of each voxel's label; none for the user's labels")
    volumes = File(exists=True, desc="JSON: soft volumes and confidence, empty for the user's")
    notes = File(exists=True)


class SegmentMagnitude(Step):
    """Label the regions on the combined magnitude, or take the user's labels."""

    input_spec, output_spec = _SegmentInput, _SegmentOutput

    def _run_interface(self, runtime: Any) -> Any:
        magnitude = images.load_stack([self.inputs.magnitude])
        self._results["volumes"] = str(write_json(Path(runtime.cwd) / "volumes.json", {}))
        try:
            if isdefined(self.inputs.dseg_file):
                self._take_labels(runtime)
            else:
                self._find_labels(runtime, magnitude)
        except (IsduError, RuntimeError, MemoryError) as error:
            # the map is worth more than its regions: it is written all the same
            nothing = np.zeros(magnitude.data.shape[1:], np.int16)
            self._save(runtime, magnitude.affine, labels=nothing, posterior=nothing)
            self._note(runtime, [], ["segmentation_failed"], segmentation_error=str(error))
        return runtime

    def _take_labels(self, runtime: Any) -> None:
        path = Path(self.inputs.dseg_file)
        dseg = images.load_volume(path)
        labels = np.rint(dseg.data).astype(np.int32)
        if dseg.data.ndim != 3 or not np.array_equal(labels, dseg.data):
            raise DataError(f"{path}: labels must be whole numbers in one 3D volume")
        label_meaning(path, np.unique(labels))  # an error of its table belongs here
        self._save(runtime, dseg.affine, labels=labels)
        text = "The anatomical labels were given by the user"
        self._note(runtime, [(text, "")], segmentation="user", segmentation_file=str(path))

    def _find_labels(self, runtime: Any, magnitude: images.Volume) -> None:
        combined = combined_magnitude(magnitude.data)
        method = SEGMENTATION[self.inputs.method]
        chosen = method(**self.inputs.parameters)
        result = segment(
            combined,
            magnitude.affine,
            network=chosen.network,
            nuclei=chosen.nuclei,
            chi_ppm=_data(self.inputs.chi_ppm),
            score_net=load_scores(chosen.score_net) if chosen.score_net else None,
            device=self.inputs.device,
        )
        self._save(runtime, magnitude.affine, labels=result.labels, posterior=result.posterior)
        volumes = {
            "soft_volumes_mm3": result.soft_volumes_mm3,
            "intracranial_mm3": result.intracranial_mm3,
            "confidence": result.confidence,
            "scores": result.scores,
        }
        write_json(Path(self._results["volumes"]), volumes)
        seen = {"segmentation_nuclei_sha256": chosen.nuclei_sha256}
        text = f"Regions were labelled on the magnitude by {chosen.description}"
        if chosen.nuclei:
            text += ", the deep nuclei on magnitude and susceptibility"
        scored = {"segmentation_scores_sha256": self.inputs.checksums.get("score_net")}
        self._note(
            runtime,
            [(text, method.reference)],
            chosen.flags,
            segmentation=chosen.name,
            segmentation_reference=method.reference,
            segmentation_sha256=chosen.sha256,
            segmentation_official=chosen.official,
            segmentation_device=result.device,
            **(scored if result.scores else {}),
            **(seen if chosen.nuclei else {}),
        )


class _MeasureInput(FilesInput):
    chi_ppm = File(exists=True, mandatory=True, desc="referenced")
    eroded_mask = File(exists=True, mandatory=True, desc="where chi is valid")
    labels = File(exists=True, mandatory=True)
    dseg_file = traits.Either(None, File(exists=True), desc="the user's, whose names count")
    posterior = File(exists=True)
    r2star = File(exists=True)


class _MeasureOutput(TraitedSpec):
    regions = File(exists=True, desc="JSON: the table by columns")
    notes = File(exists=True)


class MeasureRegions(Step):
    """Measure susceptibility and relaxation region by region."""

    input_spec, output_spec = _MeasureInput, _MeasureOutput

    def _run_interface(self, runtime: Any) -> Any:
        chi = images.load_volume(self.inputs.chi_ppm)
        labels = images.load_volume(self.inputs.labels).data.astype(np.int32)
        dseg = self.inputs.dseg_file
        meaning: Any = {}
        if dseg and labels.any():
            meaning = label_meaning(Path(dseg), np.unique(labels))
        result = region_statistics(
            chi.data,
            labels,
            images.load_volume(self.inputs.eroded_mask).data > 0,
            voxel_volume_mm3=float(np.prod(voxel_size_mm(chi.affine))),
            r2star_per_s=_data(self.inputs.r2star),
            posterior=_data(self.inputs.posterior),
            **meaning,
        )
        self._results["regions"] = str(write_json(Path(runtime.cwd) / "regions.json", result.table))
        self._note(
            runtime,
            brain_reference=finite(asdict(result.brain_reference)),
            csf_reference=finite(asdict(result.csf_reference)),
        )
        return runtime


def _data(path: Any) -> np.ndarray[Any, Any] | None:
    return images.load_volume(path).data if isdefined(path) else None
