"""Anatomical regions and the statistics of the maps in them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    TraitedSpec,
    isdefined,
    traits,
)

from isdu_bids import images
from isdu_bids.bids.masks import label_names
from isdu_bids.errors import DataError
from isdu_bids.geometry import voxel_size_mm
from isdu_bids.interfaces.base import Step
from isdu_bids.segmentation.choose import load_network
from isdu_bids.segmentation.labels import REGIONS, Region, named_regions
from isdu_bids.segmentation.segment import segment
from isdu_bids.segmentation.statistics import region_statistics

_SYNTHSEG_DOI = "10.1016/j.media.2023.102789"


class _SegmentInput(BaseInterfaceInputSpec):
    magnitude = File(exists=True, mandatory=True, desc="stack of echoes")
    weights = File(exists=True, desc="of the network")
    weights_sha256 = traits.Str(desc="so that other weights in the same place are not cached")
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
        inputs = self.inputs
        volumes: dict[str, Any] = {}
        if isdefined(inputs.dseg_file):
            dseg = images.load_volume(inputs.dseg_file)
            self._save(runtime, dseg.affine, labels=np.rint(dseg.data).astype(np.int32))
            text = "The anatomical labels were given by the user"
            self._note(runtime, [(text, "")], segmentation="user")
        else:
            magnitude = images.load_stack([inputs.magnitude])
            combined = np.sqrt((magnitude.data**2).sum(axis=0))
            chosen = load_network("auto", Path(inputs.weights))
            result = segment(
                combined, magnitude.affine, network=chosen.network, device=inputs.device
            )
            self._save(runtime, magnitude.affine, labels=result.labels, posterior=result.posterior)
            volumes = {
                "soft_volumes_mm3": result.soft_volumes_mm3,
                "intracranial_mm3": result.intracranial_mm3,
                "confidence": result.confidence,
            }
            text = f"Regions were labelled on the combined magnitude by {chosen.description}"
            flag = {None: ["small_segmentation"], False: ["unofficial_synthseg"], True: []}
            self._note(
                runtime,
                [(text, _SYNTHSEG_DOI)],
                flag[chosen.official],
                segmentation=chosen.name,
                segmentation_sha256=chosen.sha256,
                segmentation_official=chosen.official,
                segmentation_device=result.device,
            )
        path = Path(runtime.cwd) / "volumes.json"
        path.write_text(json.dumps(volumes))
        self._results["volumes"] = str(path)
        return runtime


class _MeasureInput(BaseInterfaceInputSpec):
    chi_ppm = File(exists=True, mandatory=True, desc="referenced")
    mask = File(exists=True, mandatory=True, desc="where chi is valid")
    labels = File(exists=True, mandatory=True)
    dseg_file = traits.Either(None, File(exists=True), desc="the user's, whose names count")
    posterior = File(exists=True)
    r2star = File(exists=True)


class _UserLabels(TypedDict, total=False):
    regions: dict[int, Region]
    groups: dict[str, tuple[int, ...]]
    csf_labels: tuple[int, ...]
    expected_labels: tuple[int, ...]


def own_names(dseg: Path) -> dict[int, str] | None:
    """Names of a user's labels where they are not FreeSurfer's; None where they are."""
    names = label_names(dseg)
    if names is None or all(
        label == 0 or (label in REGIONS and REGIONS[label].name == name)
        for label, name in names.items()
    ):
        return None
    return names


def user_labels(dseg: Path, labels: np.ndarray[Any, Any]) -> _UserLabels:
    """How to read the labels of a user's segmentation: by its table, else as FreeSurfer's.

    Raises
    ------
    DataError
        If it has no table and its labels are not FreeSurfer's: names would be guessed.
    """
    names = own_names(dseg)
    if names is not None:
        regions = named_regions(names)
        return {
            "regions": regions, "groups": {}, "csf_labels": (), "expected_labels": tuple(names),
        }  # fmt: skip
    if unknown := sorted(set(np.unique(labels).tolist()) - set(REGIONS)):
        raise DataError(
            f"{dseg}: labels {unknown[:10]} are not FreeSurfer's; name all labels in a .tsv "
            "beside it, with columns index and name"
        )
    return {}


class _MeasureOutput(TraitedSpec):
    regions = File(exists=True, desc="JSON: the table by columns")
    notes = File(exists=True)


class MeasureRegions(Step):
    """Measure susceptibility and relaxation region by region."""

    input_spec, output_spec = _MeasureInput, _MeasureOutput

    def _run_interface(self, runtime: Any) -> Any:
        chi = images.load_volume(self.inputs.chi_ppm)
        optional = {
            name: images.load_volume(path).data if isdefined(path) else None
            for name, path in (
                ("posterior", self.inputs.posterior), ("r2star_per_s", self.inputs.r2star),
            )
        }  # fmt: skip
        labels = images.load_volume(self.inputs.labels).data.astype(np.int32)
        dseg = self.inputs.dseg_file
        naming = user_labels(Path(dseg), labels) if dseg else _UserLabels()
        result = region_statistics(
            chi.data,
            labels,
            images.load_volume(self.inputs.mask).data > 0,
            voxel_volume_mm3=float(np.prod(voxel_size_mm(chi.affine))),
            **optional,
            **naming,
        )
        path = Path(runtime.cwd) / "regions.json"
        path.write_text(json.dumps(result.table))
        self._results["regions"] = str(path)
        self._note(
            runtime,
            brain_reference=asdict(result.brain_reference),
            csf_reference=asdict(result.csf_reference),
        )
        return runtime
