"""From the local field to the referenced susceptibility."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    TraitedSpec,
    isdefined,
    traits,
)

from isdu_bids import images
from isdu_bids.errors import DataError
from isdu_bids.geometry import voxel_size_mm
from isdu_bids.interfaces.base import Step
from isdu_bids.inversion.referencing import Referenced, csf_region, reference
from isdu_bids.inversion.registry import INVERSION
from isdu_bids.inversion.two_pass import merge_passes
from isdu_bids.inversion.uncertainty import MEMBERS, standard_deviation
from isdu_bids.networks.inference import cached_weights, chosen_grid
from isdu_bids.physics.device import run_on


class _InvertInput(BaseInterfaceInputSpec):
    field_ppm = File(exists=True, mandatory=True, desc="local field")
    mask = File(exists=True, mandatory=True)
    b0_direction = traits.Tuple(traits.Float, traits.Float, traits.Float, mandatory=True)
    method = traits.Str(mandatory=True)
    weights = traits.Str(desc="name or path, for networks")
    weights_sha256 = traits.Str(desc="so that other weights of the same name are not cached")
    weights_iterations = traits.Either(None, traits.Int, desc="K where the file lacks it")
    grid = traits.Str("auto", desc="for networks")
    precision = traits.Str("single", desc="for networks")
    field_sd_ppm = File(exists=True, desc="given, the map's standard deviation is computed")
    device = traits.Str("cpu")
    use_gpu = traits.Bool(False, nohash=True)


class _InvertOutput(TraitedSpec):
    chi_ppm = File(exists=True, desc="susceptibility, not yet referenced")
    chi_sd_ppm = File(desc="its standard deviation, if asked for")
    notes = File(exists=True)


class InvertField(Step):
    """Invert the dipole convolution."""

    input_spec, output_spec = _InvertInput, _InvertOutput

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        field, mask = images.load_volume(inputs.field_ppm), images.load_volume(inputs.mask)
        method = INVERSION[inputs.method]
        facts: dict[str, Any] = {
            "inversion": inputs.method,
            "inversion_reference": method.reference,
            "inversion_parameters": method.settings,
        }
        parameters: dict[str, Any] = {}
        flags: list[str] = []
        if inputs.method == "isdu":
            weights = cached_weights(inputs.weights, inputs.weights_iterations)
            grid = chosen_grid(
                inputs.grid, weights, voxel_size_mm(field.affine), inputs.b0_direction
            )
            if grid != "native":
                flags.append("other_grid_for_weights")
            chosen = {"precision": inputs.precision, "grid": grid}
            parameters = {"weights": weights, **chosen}
            facts |= {
                "inversion_parameters": method.settings | {"weights": weights.name} | chosen,
                "weights": weights.name,
                "weights_sha256": weights.sha256,
                "weights_description": weights.description,
                "weights_iterations": weights.network.architecture.iterations,
            }
        geometry = {
            "voxel_size_mm": voxel_size_mm(field.affine),
            "b0_direction": inputs.b0_direction,
        }
        bound = partial(method, **parameters)

        def tensors(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
            return (
                torch.from_numpy(field.data).to(device),
                torch.from_numpy(mask.data > 0).to(device),
            )

        def invert(device: torch.device) -> torch.Tensor:
            return bound(*tensors(device), **geometry).cpu()

        def spread(device: torch.device) -> torch.Tensor:
            sd = torch.from_numpy(images.load_volume(inputs.field_sd_ppm).data).to(device)
            return standard_deviation(bound, *tensors(device), field_sd_ppm=sd, **geometry).cpu()

        chi, facts["inversion_device"] = run_on(inputs.device, invert)
        maps = {"chi_ppm": chi.numpy()}
        sentences = [(f"Susceptibility was computed by {method.description}", method.reference)]
        if isdefined(inputs.field_sd_ppm):
            sd, facts["uncertainty_device"] = run_on(inputs.device, spread)
            maps["chi_sd_ppm"] = sd.numpy()
            sentences.append(
                (
                    "Its standard deviation is the spread over "
                    f"{MEMBERS} mirrored copies of the field with noise of its own size",
                    "",
                )
            )
        self._save(runtime, field.affine, **maps)
        self._note(runtime, sentences, flags, **facts)
        return runtime


class _ReferenceInput(BaseInterfaceInputSpec):
    chi_ppm = File(exists=True, mandatory=True)
    mask = File(exists=True, mandatory=True)
    r2star = File(exists=True)
    region = traits.Str(mandatory=True)


class _ReferenceOutput(TraitedSpec):
    chi_ppm = File(exists=True)
    notes = File(exists=True)


class ReferenceChi(Step):
    """Set the mean of the reference region to zero and report it, as the consensus asks."""

    input_spec, output_spec = _ReferenceInput, _ReferenceOutput

    def _run_interface(self, runtime: Any) -> Any:
        chi = images.load_volume(self.inputs.chi_ppm)
        mask = images.load_volume(self.inputs.mask).data > 0
        whole = reference(chi.data, mask, mask, "whole mask")
        chosen = self._choose(whole, mask, voxel_size_mm(chi.affine))
        self._save(runtime, chi.affine, chi_ppm=chosen.chi_ppm)
        self._note(
            runtime,
            [(f"Susceptibility is referenced to: {chosen.region}.", "10.1002/mrm.30006")],
            reference=chosen.region,
            # relative to the whole mask, so that anybody can re-reference
            reference_mean_ppm=chosen.offset_ppm - whole.offset_ppm,
            reference_sd_ppm=chosen.sd_ppm,
            reference_n_voxels=chosen.n_voxels,
        )
        return runtime

    def _choose(
        self, whole: Referenced, mask: np.ndarray[Any, Any], size: tuple[float, float, float]
    ) -> Referenced:
        chi = images.load_volume(self.inputs.chi_ppm).data
        if self.inputs.region == "none":
            return Referenced(chi, "none", 0.0, whole.sd_ppm, whole.n_voxels)
        if self.inputs.region == "csf":
            if not isdefined(self.inputs.r2star):
                raise DataError("--reference csf needs R2*; use whole-mask")
            r2star = images.load_volume(self.inputs.r2star).data
            return reference(chi, mask, csf_region(r2star, mask, size), "ventricular CSF")
        return whole


class _MergeInput(BaseInterfaceInputSpec):
    inner_chi_ppm = File(exists=True, mandatory=True, desc="of the reliable voxels")
    inner_field_ppm = File(exists=True, mandatory=True)
    inner_mask = File(exists=True, mandatory=True)
    whole_chi_ppm = File(exists=True, mandatory=True, desc="of all voxels of the brain mask")
    whole_field_ppm = File(exists=True, mandatory=True)
    whole_mask = File(exists=True, mandatory=True)


class _MergeOutput(TraitedSpec):
    chi_ppm = File(exists=True)
    field_ppm = File(exists=True)
    mask = File(exists=True)
    notes = File(exists=True)


class MergePasses(Step):
    """Fill the map of the reliable voxels with that of all voxels."""

    input_spec, output_spec = _MergeInput, _MergeOutput

    def _run_interface(self, runtime: Any) -> Any:
        names = _MergeInput().copyable_trait_names()
        volumes = {name: images.load_volume(getattr(self.inputs, name)) for name in names}
        inner, whole = volumes["inner_mask"].data > 0, volumes["whole_mask"].data > 0
        merged = {}
        for name in ("chi_ppm", "field_ppm"):
            maps = volumes[f"inner_{name}"].data, volumes[f"whole_{name}"].data
            merged[name], mask = merge_passes(maps[0], inner, maps[1], whole)
        self._save(runtime, volumes["inner_mask"].affine, mask=mask, **merged)
        text = "Reliable voxels were inverted alone; the others were filled in from a second pass"
        self._note(runtime, [(text, "10.1002/mrm.29048")], two_pass=True)
        return runtime
