"""From the local field to the referenced susceptibility."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    TraitedSpec,
    isdefined,
    traits,
)

from isdu_bids import images
from isdu_bids.geometry import voxel_size_mm
from isdu_bids.interfaces.base import MethodInput, Step, combined_magnitude
from isdu_bids.inversion.referencing import Referenced, reference
from isdu_bids.inversion.registry import INVERSION, REFERENCE, VOLUMES
from isdu_bids.inversion.result import Inverted
from isdu_bids.inversion.two_pass import merge_passes
from isdu_bids.inversion.uncertainty import MEMBERS, standard_deviation
from isdu_bids.physics.device import run_on


class _InvertInput(MethodInput):
    field_ppm = File(exists=True, desc="local field; this and the others for methods that take it")
    total_field_ppm = File(exists=True)
    mask = File(exists=True, mandatory=True)
    magnitude = File(exists=True, desc="stack of echoes")
    field_sd_ppm = File(exists=True)
    r2star_per_s = File(exists=True)
    b0_direction = traits.Tuple(traits.Float, traits.Float, traits.Float, mandatory=True)
    field_strength_t = traits.Float(mandatory=True)
    echo_times_s = traits.List(traits.Float, mandatory=True)
    uncertainty = traits.Bool(False, desc="compute the map's standard deviation from the field's")
    device = traits.Str("cpu")
    use_gpu = traits.Bool(False, nohash=True)


class _InvertOutput(TraitedSpec):
    chi_ppm = File(exists=True, desc="susceptibility, not yet referenced")
    chi_sd = File(desc="its standard deviation in ppm, if asked for")
    iterates = File(desc="stack of susceptibilities, for unrolled networks")
    lambdas = traits.List(traits.Float, desc="weights of the denoisers' proposals, one each")
    notes = File(exists=True)


class InvertField(Step):
    """Invert the dipole convolution."""

    input_spec, output_spec = _InvertInput, _InvertOutput

    def _run_interface(self, runtime: Any) -> Any:
        inputs, method = self.inputs, INVERSION[self.inputs.method]
        affine = images.load_volume(inputs.mask).affine
        given = (name for name in method.takes(VOLUMES) if isdefined(getattr(inputs, name)))
        volumes = {name: torch.from_numpy(self._volume(name)) for name in given}
        scalars = {
            "voxel_size_mm": voxel_size_mm(affine),
            "b0_direction": inputs.b0_direction,
            "field_strength_t": inputs.field_strength_t,
            "echo_times_s": inputs.echo_times_s,
        }
        ready = method.prepared(inputs.parameters, {**volumes, **scalars})

        def tensors(device: torch.device) -> dict[str, torch.Tensor]:
            return {name: volume.to(device) for name, volume in volumes.items()}

        def invert(device: torch.device) -> Inverted:
            return Inverted.of(method.run({**tensors(device), **scalars}, **ready.parameters))

        def spread(device: torch.device) -> torch.Tensor:
            sd = torch.from_numpy(self._volume("field_sd_ppm")).to(device)
            maps = {**tensors(device), **scalars}
            bound = partial(method.run, **ready.parameters)
            return standard_deviation(bound, maps, field_sd_ppm=sd).cpu()

        result, chi_device = run_on(inputs.device, invert)
        maps = {"chi_ppm": result.chi_ppm.cpu().numpy()}
        facts = {"inversion_device": chi_device, **ready.facts, **result.convergence}
        sentences = [INVERSION.step("Susceptibility was computed by {}", inputs.method)]
        if result.iterates is not None:
            maps["iterates"] = result.iterates.cpu().numpy()
            self._results["lambdas"] = list(result.lambdas)
        if inputs.uncertainty:
            sd, facts["uncertainty_device"] = run_on(inputs.device, spread)
            maps["chi_sd"] = sd.numpy()
            text = (
                f"Its standard deviation is the spread over {MEMBERS} mirrored copies of the field "
                "with noise of its own size"
            )
            sentences.append((text, ""))
        self._save(runtime, affine, **maps)
        self._note(
            runtime,
            sentences,
            ready.flags,
            inversion=inputs.method,
            inversion_reference=method.reference,
            inversion_parameters=ready.stated,
            **facts,
        )
        return runtime

    def _volume(self, name: str) -> Any:
        if name == "magnitude":
            return combined_magnitude(images.load_stack([self.inputs.magnitude]).data)
        data = images.load_volume(getattr(self.inputs, name)).data
        return data > 0 if name == "mask" else data


class _ReferenceInput(BaseInterfaceInputSpec):
    chi_ppm = File(exists=True, mandatory=True)
    eroded_mask = File(exists=True, mandatory=True)
    r2star_per_s = File(exists=True)
    region = traits.Str(mandatory=True, desc="as on the command line")


class _ReferenceOutput(TraitedSpec):
    chi_ppm = File(exists=True)
    notes = File(exists=True)


class ReferenceChi(Step):
    """Set the mean of the reference region to zero and report it, as the consensus asks."""

    input_spec, output_spec = _ReferenceInput, _ReferenceOutput

    def _run_interface(self, runtime: Any) -> Any:
        chi = images.load_volume(self.inputs.chi_ppm)
        mask = images.load_volume(self.inputs.eroded_mask).data > 0
        whole = reference(chi.data, mask, mask, "whole mask")
        chosen = Referenced(chi.data, "none", 0.0, whole.sd_ppm, whole.n_voxels)
        available = {"mask": mask, "voxel_size_mm": voxel_size_mm(chi.affine)}
        if isdefined(self.inputs.r2star_per_s):
            available["r2star_per_s"] = images.load_volume(self.inputs.r2star_per_s).data
        if (choice := REFERENCE.resolved(self.inputs.region, available)) is not None:
            region = REFERENCE.run(choice, available)
            chosen = reference(chi.data, mask, region, REFERENCE[choice.name].description)
        self._save(runtime, chi.affine, chi_ppm=chosen.chi_ppm)
        self._note(
            runtime,
            [(f"Susceptibility is referenced to: {chosen.region}", "10.1002/mrm.30006")],
            reference=chosen.region,
            # relative to the whole mask, so that anybody can re-reference
            reference_mean_ppm=chosen.offset_ppm - whole.offset_ppm,
            reference_sd_ppm=chosen.sd_ppm,
            reference_n_voxels=chosen.n_voxels,
        )
        return runtime


class _MergeInput(BaseInterfaceInputSpec):
    inner_chi_ppm = File(exists=True, mandatory=True, desc="of the reliable voxels")
    inner_local_field_ppm = File(exists=True, mandatory=True)
    inner_eroded_mask = File(exists=True, mandatory=True)
    whole_chi_ppm = File(exists=True, mandatory=True, desc="of all voxels of the brain mask")
    whole_local_field_ppm = File(exists=True, mandatory=True)
    whole_eroded_mask = File(exists=True, mandatory=True)


class _MergeOutput(TraitedSpec):
    chi_ppm = File(exists=True)
    local_field_ppm = File(exists=True)
    eroded_mask = File(exists=True)
    notes = File(exists=True)


class MergePasses(Step):
    """Fill the map of the reliable voxels with that of all voxels."""

    input_spec, output_spec = _MergeInput, _MergeOutput

    def _run_interface(self, runtime: Any) -> Any:
        names = _MergeInput().copyable_trait_names()
        volumes = {name: images.load_volume(getattr(self.inputs, name)) for name in names}
        inner, whole = (volumes[f"{part}_eroded_mask"].data > 0 for part in ("inner", "whole"))
        merged = {}
        for name in ("chi_ppm", "local_field_ppm"):
            maps = volumes[f"inner_{name}"].data, volumes[f"whole_{name}"].data
            merged[name], mask = merge_passes(maps[0], inner, maps[1], whole)
        affine = volumes["inner_eroded_mask"].affine
        self._save(runtime, affine, eroded_mask=mask, **merged)
        text = "Reliable voxels were inverted alone; the others were filled in from a second pass"
        self._note(runtime, [(text, "10.1002/mrm.29048")], two_pass=True)
        return runtime
