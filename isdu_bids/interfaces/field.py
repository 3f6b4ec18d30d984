"""From the files of a scan to its local field."""

from __future__ import annotations

from pathlib import Path
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
from isdu_bids.background.registry import BACKGROUND
from isdu_bids.geometry import voxel_size_mm
from isdu_bids.interfaces.base import Step
from isdu_bids.masking.masks import MASKS
from isdu_bids.masking.synthstrip import SYNTHSTRIP_SHA256
from isdu_bids.masking.trusted import trusted_mask
from isdu_bids.phase.combination import COMBINATION
from isdu_bids.phase.mapping import map_field
from isdu_bids.phase.relaxation import RELAXATION, fit_relaxation, relaxation_method
from isdu_bids.phase.romeo import voxel_quality
from isdu_bids.phase.scaling import decide_phase_scaling, explicit_scaling
from isdu_bids.phase.unwrapping import UNWRAPPING
from isdu_bids.physics.device import run_on
from isdu_bids.units import hz_to_ppm


class _LoadScanInput(BaseInterfaceInputSpec):
    magnitude_files = traits.List(File(exists=True))
    phase_files = traits.List(File(exists=True))
    real_files = traits.List(File(exists=True))
    imag_files = traits.List(File(exists=True))
    phase_units = traits.Either(None, traits.Str)
    manufacturer = traits.Either(None, traits.Str)
    phase_range = traits.Either(None, traits.Tuple(traits.Float, traits.Float))


class _LoadScanOutput(TraitedSpec):
    magnitude = File(exists=True, desc="stack of echoes")
    phase = File(exists=True, desc="stack of echoes, wrapped, rad")
    notes = File(exists=True)


class LoadScan(Step):
    """Read magnitude and phase (rad) of all echoes, whatever form they are stored in."""

    input_spec, output_spec = _LoadScanInput, _LoadScanOutput

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        if inputs.real_files:
            magnitude, phase = images.load_real_imag(inputs.real_files, inputs.imag_files)
            scale = "computed from real and imaginary parts"
            phase_rad, flags = phase.data, tuple[str, ...]()
        else:
            magnitude = images.load_stack(inputs.magnitude_files)
            phase = images.load_stack(inputs.phase_files)
            scaling = (
                explicit_scaling(*inputs.phase_range)
                if inputs.phase_range
                else decide_phase_scaling(
                    phase.data,
                    stored_dtype=phase.stored_dtype,
                    units=inputs.phase_units,
                    manufacturer=inputs.manufacturer,
                )
            )
            phase_rad, flags = scaling.to_radians(phase.data), scaling.flags
            scale = f"{scaling.name}: {scaling.reason}"
        # NaN stays in the phase alone: field mapping takes those voxels out of the mask
        self._save(runtime, phase.affine, magnitude=np.nan_to_num(magnitude.data), phase=phase_rad)
        self._note(runtime, flags=flags, phase_scaling=scale)
        return runtime


class _MaskInput(BaseInterfaceInputSpec):
    magnitude = File(exists=True, mandatory=True)
    phase = File(exists=True, mandatory=True)
    echo_times_s = traits.List(traits.Float)
    method = traits.Str(mandatory=True)
    mask_file = traits.Either(None, File(exists=True), desc="the user's own mask")
    weights = File(exists=True, desc="of SynthStrip")
    weights_sha256 = traits.Str(desc="so that other weights in the same place are not cached")


class _MaskOutput(TraitedSpec):
    mask = File(exists=True)
    notes = File(exists=True)


class MaskBrain(Step):
    """Mask from the magnitude and the quality of the phase, or the user's own."""

    input_spec, output_spec = _MaskInput, _MaskOutput

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        magnitude = images.load_stack([inputs.magnitude])
        if inputs.mask_file:
            mask = images.load_volume(inputs.mask_file).data > 0.5
            self._note(runtime, [("The brain mask was given by the user.", "")], mask="user")
        else:
            phase = images.load_stack([inputs.phase]).data
            finite = np.asarray(np.isfinite(phase).all(axis=0))
            method = MASKS[inputs.method]
            weights, flags = self._weights()
            mask = method(
                magnitude.data,
                quality=voxel_quality(
                    np.nan_to_num(phase), magnitude.data, inputs.echo_times_s, finite
                ),
                voxel_size_mm=voxel_size_mm(magnitude.affine),
                affine=magnitude.affine,
                **weights,
            )
            text = f"The mask is the {method.description}"
            self._note(
                runtime,
                [(text, method.reference)],
                flags,
                mask=inputs.method,
                mask_reference=method.reference,
                mask_parameters=method.settings,
                **({"mask_weights_sha256": inputs.weights_sha256} if weights else {}),
            )
        self._save(runtime, magnitude.affine, mask=mask)
        return runtime

    def _weights(self) -> tuple[dict[str, Path], list[str]]:
        """Weights of a method that needs a file, and what a reader must know of them."""
        if not isdefined(self.inputs.weights):
            return {}, []
        official = self.inputs.weights_sha256 == SYNTHSTRIP_SHA256
        return {"weights": Path(self.inputs.weights)}, [] if official else ["unofficial_synthstrip"]


class _FieldInput(BaseInterfaceInputSpec):
    magnitude = File(exists=True, mandatory=True)
    phase = File(exists=True, mandatory=True)
    mask = File(exists=True, mandatory=True)
    echo_times_s = traits.List(traits.Float, mandatory=True)
    field_strength_t = traits.Float(mandatory=True)
    b0_direction = traits.Tuple(traits.Float, traits.Float, traits.Float, mandatory=True)
    offset = traits.Str(mandatory=True)
    sign = traits.Str("auto")
    unwrapping = traits.Str(mandatory=True)
    combination = traits.Str(mandatory=True)


class _FieldOutput(TraitedSpec):
    unwrapped = File(exists=True, desc="stack of echoes, rad")
    field_ppm = File(exists=True, desc="total field")
    field_sd_ppm = File(exists=True)
    quality = File(exists=True, desc="of the phase, 0 to 1")
    measured_mask = File(exists=True, desc="the mask without voxels that have no finite phase")
    mask = File(exists=True, desc="of these, the voxels whose field is to be trusted")
    notes = File(exists=True)


class MapField(Step):
    """Unwrap the phase and combine the echoes to the total field."""

    input_spec, output_spec = _FieldInput, _FieldOutput

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        mask = images.load_volume(inputs.mask)
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
            field_ppm=hz_to_ppm(fit.field_hz, inputs.field_strength_t),
            field_sd_ppm=hz_to_ppm(fit.field_sd_hz, inputs.field_strength_t),
            quality=fit.quality,
            measured_mask=measured,
            mask=trusted_mask(measured, fit.quality),
        )
        self._note(
            runtime,
            fit.steps,
            fit.flags,
            offset=fit.offset,
            unwrapping=inputs.unwrapping,
            unwrapping_reference=UNWRAPPING[inputs.unwrapping].reference,
            combination=inputs.combination,
            combination_reference=COMBINATION[inputs.combination].reference,
            sign_correlation=fit.sign_correlation,
        )
        return runtime


class _BackgroundInput(BaseInterfaceInputSpec):
    field_ppm = File(exists=True, mandatory=True)
    field_sd_ppm = File(exists=True, mandatory=True)
    mask = File(exists=True, mandatory=True)
    b0_direction = traits.Tuple(traits.Float, traits.Float, traits.Float, mandatory=True)
    method = traits.Str(mandatory=True)
    device = traits.Str("cpu")
    use_gpu = traits.Bool(False, nohash=True)


class _BackgroundOutput(TraitedSpec):
    field_ppm = File(exists=True, desc="local field")
    mask = File(exists=True, desc="where the local field is valid")
    notes = File(exists=True)


class RemoveBackground(Step):
    """Take the field of sources outside the mask away."""

    input_spec, output_spec = _BackgroundInput, _BackgroundOutput

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        total, mask, field_sd = (
            images.load_volume(path)
            for path in (inputs.field_ppm, inputs.mask, inputs.field_sd_ppm)
        )
        method = BACKGROUND[inputs.method]

        def remove(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
            local = method(
                torch.from_numpy(total.data).to(device),
                torch.from_numpy(mask.data > 0).to(device),
                voxel_size_mm=voxel_size_mm(total.affine),
                b0_direction=inputs.b0_direction,
                field_sd_ppm=torch.from_numpy(field_sd.data).to(device),
            )
            return local.field_ppm.cpu(), local.mask.cpu()

        (field, valid), device_used = run_on(inputs.device, remove)
        self._save(runtime, total.affine, field_ppm=field.numpy(), mask=valid.numpy())
        text = f"Background fields were removed by {method.description}"
        self._note(
            runtime,
            [(text, method.reference)],
            background=inputs.method,
            background_reference=method.reference,
            background_parameters=method.settings,
            background_device=device_used,
        )
        return runtime


class _RelaxationInput(BaseInterfaceInputSpec):
    method = traits.Str("auto")
    magnitude = File(exists=True, mandatory=True)
    mask = File(exists=True, mandatory=True)
    echo_times_s = traits.List(traits.Float, mandatory=True)


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
        mask = images.load_volume(self.inputs.mask).data > 0
        times_s = self.inputs.echo_times_s
        name = relaxation_method(times_s) if self.inputs.method == "auto" else self.inputs.method
        fit = fit_relaxation(magnitude.data, times_s, mask, name)
        self._save(
            runtime, magnitude.affine, r2star=fit.r2star_per_s, t2star=fit.t2star_s, s0=fit.s0
        )
        method = RELAXATION[name]
        text = f"R2* was fitted by {method.description}"
        self._note(
            runtime,
            [(text, method.reference)],
            relaxation=name,
            relaxation_reference=method.reference,
        )
        return runtime
