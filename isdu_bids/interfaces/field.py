"""From the files of a scan to its local field."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    TraitedSpec,
    traits,
)

from isdu_bids import images
from isdu_bids.background.registry import BACKGROUND
from isdu_bids.errors import DataError
from isdu_bids.geometry import voxel_size_mm
from isdu_bids.interfaces.base import FilesInput, MethodInput, Step
from isdu_bids.masking.registry import MASKS
from isdu_bids.masking.trusted import trusted_mask
from isdu_bids.phase.magnitudes import clean_magnitude
from isdu_bids.phase.mapping import map_field
from isdu_bids.phase.registry import COMBINATION, OFFSET, RELAXATION, UNWRAPPING
from isdu_bids.phase.relaxation import decay_flags, fit_relaxation
from isdu_bids.phase.romeo import voxel_quality
from isdu_bids.phase.scaling import PhaseScaling, decide_phase_scaling, explicit_scaling
from isdu_bids.phase.signal import compare_echoes, echo_names
from isdu_bids.physics.device import run_on
from isdu_bids.units import hz_to_ppm


class _LoadScanInput(FilesInput):
    magnitude_files = traits.List(File(exists=True))
    phase_files = traits.List(File(exists=True))
    real_files = traits.List(File(exists=True))
    imag_files = traits.List(File(exists=True))
    phase_units = traits.Either(None, traits.Str)
    manufacturer = traits.Either(None, traits.Str)
    phase_range = traits.Either(None, traits.Tuple(traits.Float, traits.Float))
    echo_times_s = traits.List(traits.Float, mandatory=True)
    flags = traits.List(traits.Str, desc="on the metadata of the scan")


class _LoadScanOutput(TraitedSpec):
    magnitude = File(exists=True, desc="stack of echoes")
    phase = File(exists=True, desc="stack of echoes, wrapped, rad")
    notes = File(exists=True)


class LoadScan(Step):
    """Read magnitude and phase (rad) of all echoes, whatever form they are stored in."""

    input_spec, output_spec = _LoadScanInput, _LoadScanOutput

    def _run_interface(self, runtime: Any) -> Any:
        inputs, n_echoes = self.inputs, len(self.inputs.echo_times_s)
        magnitude_names = echo_names(inputs.magnitude_files or inputs.imag_files, n_echoes)
        phase_names = echo_names(inputs.phase_files or inputs.real_files, n_echoes)
        if inputs.real_files:
            magnitude, phase = images.load_real_imag(inputs.real_files, inputs.imag_files)
        else:
            magnitude = images.load_stack(inputs.magnitude_files)
            phase = images.load_stack(inputs.phase_files)
        # first, so that exchanged parts are named as such
        clean, magnitude_flags = clean_magnitude(magnitude.data, magnitude_names)
        if inputs.real_files:
            scale = "computed from real and imaginary parts"
            phase_rad, flags = phase.data, tuple[str, ...]()
        else:
            scaling = self._scaling(phase)
            phase_rad, flags = scaling.to_radians(phase.data), scaling.flags
            scale = f"{scaling.name}: {scaling.reason}"
        phase_rad, echo_flags = compare_echoes(
            phase_rad,
            clean,
            inputs.echo_times_s,
            voxel_size_mm(phase.affine),
            phase_names,
            magnitude_names,
        )
        # NaN stays in the phase alone: field mapping takes those voxels out of the mask
        self._save(runtime, phase.affine, magnitude=clean, phase=phase_rad)
        all_flags = [*inputs.flags, *flags, *magnitude_flags, *echo_flags]
        self._note(runtime, flags=all_flags, phase_scaling=scale)
        return runtime

    def _scaling(self, phase: images.Volume) -> PhaseScaling:
        inputs = self.inputs
        if inputs.phase_range:
            return explicit_scaling(*inputs.phase_range)
        try:
            return decide_phase_scaling(
                phase.data,
                stored_dtype=phase.stored_dtype,
                units=inputs.phase_units,
                manufacturer=inputs.manufacturer,
            )
        except DataError as error:
            raise DataError(f"{inputs.phase_files[0]}: {error}") from error


class _MaskInput(MethodInput):
    magnitude = File(exists=True, mandatory=True)
    phase = File(exists=True, mandatory=True)
    echo_times_s = traits.List(traits.Float)


class _MaskOutput(TraitedSpec):
    brain_mask = File(exists=True)
    notes = File(exists=True)


class MaskBrain(Step):
    """Mask from the magnitude and the quality of the phase."""

    input_spec, output_spec = _MaskInput, _MaskOutput

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        magnitude = images.load_stack([inputs.magnitude])
        method = MASKS[inputs.method]
        scan = {
            "magnitude": magnitude.data,
            "voxel_size_mm": voxel_size_mm(magnitude.affine),
            "affine": magnitude.affine,
        }
        if method.takes(["quality"]):
            phase = images.load_stack([inputs.phase]).data
            finite = np.asarray(np.isfinite(phase).all(axis=0))
            scan["quality"] = voxel_quality(
                np.nan_to_num(phase), magnitude.data, inputs.echo_times_s, finite
            )
        ready = method.prepared(inputs.parameters, scan)
        self._save(runtime, magnitude.affine, brain_mask=method.run(scan, **ready.parameters))
        self._note(
            runtime,
            [MASKS.step("The mask is the {}", inputs.method)],
            ready.flags,
            mask=inputs.method,
            mask_reference=MASKS[inputs.method].reference,
            mask_parameters=ready.stated,
            **{f"mask_{name}": fact for name, fact in ready.facts.items()},
        )
        return runtime


class _TakeMaskInput(FilesInput):
    mask_file = File(exists=True, mandatory=True)


class TakeMask(Step):
    """Take the user's own mask."""

    input_spec, output_spec = _TakeMaskInput, _MaskOutput

    def _run_interface(self, runtime: Any) -> Any:
        mask = images.load_volume(self.inputs.mask_file)
        self._save(runtime, mask.affine, brain_mask=mask.data > 0.5)
        self._note(runtime, [("The brain mask was given by the user", "")], mask="user")
        return runtime


class _FieldInput(BaseInterfaceInputSpec):
    magnitude = File(exists=True, mandatory=True)
    phase = File(exists=True, mandatory=True)
    brain_mask = File(exists=True, mandatory=True)
    echo_times_s = traits.List(traits.Float, mandatory=True)
    field_strength_t = traits.Float(mandatory=True)
    b0_direction = traits.Tuple(traits.Float, traits.Float, traits.Float, mandatory=True)
    offset = traits.Str(mandatory=True, desc="as this and the others on the command line")
    sign = traits.Str("auto")
    unwrapping = traits.Str(mandatory=True)
    combination = traits.Str(mandatory=True)


class _FieldOutput(TraitedSpec):
    unwrapped = File(exists=True, desc="stack of echoes, rad")
    total_field_ppm = File(exists=True)
    field_sd_ppm = File(exists=True)
    quality = File(exists=True, desc="of the phase, 0 to 1")
    measured_mask = File(exists=True, desc="the mask without voxels that have no finite phase")
    trusted_mask = File(exists=True, desc="of these, the voxels whose field is to be trusted")
    notes = File(exists=True)


class MapField(Step):
    """Unwrap the phase and combine the echoes to the total field."""

    input_spec, output_spec = _FieldInput, _FieldOutput

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        mask = images.load_volume(inputs.brain_mask)
        phase = images.load_stack([inputs.phase]).data
        measured = (mask.data > 0) & np.isfinite(phase).all(axis=0)
        fit = map_field(
            phase,
            images.load_stack([inputs.magnitude]).data,
            inputs.echo_times_s,
            mask.data > 0,
            voxel_size_mm(mask.affine),
            b0_direction=inputs.b0_direction,
            unwrapping=inputs.unwrapping,
            combination=inputs.combination,
            offset=inputs.offset,
            sign=inputs.sign,
        )
        self._save(
            runtime,
            mask.affine,
            unwrapped=fit.unwrapped_rad,
            total_field_ppm=hz_to_ppm(fit.field_hz, inputs.field_strength_t),
            field_sd_ppm=hz_to_ppm(fit.field_sd_hz, inputs.field_strength_t),
            quality=fit.quality,
            measured_mask=measured,
            trusted_mask=trusted_mask(measured, fit.quality),
        )
        offset = OFFSET.resolved(inputs.offset, {"echo_times_s": inputs.echo_times_s})
        self._note(
            runtime,
            fit.steps,
            fit.flags,
            offset=str(offset or "none"),
            unwrapping=inputs.unwrapping,
            unwrapping_reference=UNWRAPPING.step("{}", inputs.unwrapping)[1],
            combination=inputs.combination,
            combination_reference=COMBINATION.step("{}", inputs.combination)[1],
            sign_correlation=fit.sign_correlation,
        )
        return runtime


class _BackgroundInput(MethodInput):
    total_field_ppm = File(exists=True, mandatory=True)
    field_sd_ppm = File(exists=True, mandatory=True)
    trusted_mask = File(exists=True, mandatory=True)
    b0_direction = traits.Tuple(traits.Float, traits.Float, traits.Float, mandatory=True)
    device = traits.Str("cpu")
    use_gpu = traits.Bool(False, nohash=True)


class _BackgroundOutput(TraitedSpec):
    local_field_ppm = File(exists=True)
    eroded_mask = File(exists=True, desc="where the local field is valid")
    notes = File(exists=True)


class RemoveBackground(Step):
    """Take the field of sources outside the mask away."""

    input_spec, output_spec = _BackgroundInput, _BackgroundOutput

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        total = images.load_volume(inputs.total_field_ppm)
        volumes = {
            "field_ppm": total.data,
            "mask": images.load_volume(inputs.trusted_mask).data > 0,
            "field_sd_ppm": images.load_volume(inputs.field_sd_ppm).data,
        }
        geometry = {
            "voxel_size_mm": voxel_size_mm(total.affine),
            "b0_direction": inputs.b0_direction,
        }
        method = BACKGROUND[inputs.method]

        def remove(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
            tensors = {name: torch.from_numpy(v).to(device) for name, v in volumes.items()}
            local = method.run({**tensors, **geometry}, **inputs.parameters)
            return local.field_ppm.cpu(), local.mask.cpu()

        (field, valid), device_used = run_on(inputs.device, remove)
        maps = {"local_field_ppm": field.numpy(), "eroded_mask": valid.numpy()}
        self._save(runtime, total.affine, **maps)
        self._note(
            runtime,
            [BACKGROUND.step("Background fields were removed by {}", inputs.method)],
            background=inputs.method,
            background_reference=BACKGROUND[inputs.method].reference,
            background_parameters=dict(inputs.parameters),
            background_device=device_used,
        )
        return runtime


class _RelaxationInput(BaseInterfaceInputSpec):
    method = traits.Str(mandatory=True, desc="as on the command line")
    magnitude = File(exists=True, mandatory=True)
    brain_mask = File(exists=True, mandatory=True)
    echo_times_s = traits.List(traits.Float, mandatory=True)
    field_strength_t = traits.Float(mandatory=True)


class _RelaxationOutput(TraitedSpec):
    r2star = File(exists=True, desc="1/s")
    t2star = File(exists=True, desc="s")
    s0 = File(exists=True)
    notes = File(exists=True)


class MapRelaxation(Step):
    """Fit the decay of the magnitude."""

    input_spec, output_spec = _RelaxationInput, _RelaxationOutput

    def _run_interface(self, runtime: Any) -> Any:
        magnitude = images.load_stack([self.inputs.magnitude])
        mask = images.load_volume(self.inputs.brain_mask).data > 0
        times_s = self.inputs.echo_times_s
        choice = RELAXATION.resolved(self.inputs.method, {"echo_times_s": times_s})
        fit = fit_relaxation(magnitude.data, times_s, mask, str(choice))
        self._save(
            runtime, magnitude.affine, r2star=fit.r2star_per_s, t2star=fit.t2star_s, s0=fit.s0
        )
        sentence = RELAXATION.step("R2* was fitted by {}", str(choice))
        flags = decay_flags(fit.r2star_per_s, mask, times_s, self.inputs.field_strength_t)
        self._note(
            runtime,
            [sentence],
            flags,
            relaxation=str(choice),
            relaxation_reference=sentence[1],
        )
        return runtime
