"""Maps in template space: registration, resampling, derivatives and figure."""

from __future__ import annotations

import shutil
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
from isdu_bids.bids.derivatives import write_output
from isdu_bids.bids.layout import figure_folder
from isdu_bids.bids.outdated import remove_outdated
from isdu_bids.bids.outputs import output_path, transform_path
from isdu_bids.files import beside, read_json, replacing, write_json
from isdu_bids.interfaces.base import Step, combined_magnitude
from isdu_bids.quality.template import measure_template
from isdu_bids.reports.template import draw_template_figure, template_figure_path
from isdu_bids.template.find import Template
from isdu_bids.template.register import Ants, Registration, resample_inside, skull_stripped

_SENTENCE = (
    "Maps were brought to the template {space} by rigid, affine and symmetric diffeomorphic (SyN) "
    "registration of the combined magnitude inside the brain mask to its T1-weighted image with "
    "mutual information (ANTs), and linear interpolation"
)
_MAPS = ("chi_ppm", "r2star", "eroded_mask", "brain_mask", "magnitude")
_SYN = "10.1016/j.media.2007.06.004"
_MNI_2009 = "10.1016/j.neuroimage.2010.07.033"


class _RegisterInput(BaseInterfaceInputSpec):
    template = traits.Instance(Template, mandatory=True)
    magnitude = File(exists=True, mandatory=True, desc="stack of echoes")
    brain_mask = File(exists=True, mandatory=True)
    eroded_mask = File(exists=True, mandatory=True, desc="where chi is valid")
    chi_ppm = File(exists=True, mandatory=True, desc="referenced")
    r2star = File(exists=True)


class _RegisterOutput(TraitedSpec):
    chi_ppm = File(desc="as everything but measures and notes: none if the registration failed")
    r2star = File()
    eroded_mask = File()
    brain_mask = File()
    magnitude = File(desc="inside the brain mask")
    forward = File(desc="transform from the scan to the template")
    inverse = File()
    measures = File(exists=True, desc="JSON")
    notes = File(exists=True)


class RegisterTemplate(Step):
    """Register the magnitude to a template and resample the maps; a failure costs these only.

    Attributes
    ----------
    registration
        The library.
    maps
        Names of the results that there are if it succeeds.
    """

    input_spec, output_spec = _RegisterInput, _RegisterOutput
    registration: Registration = Ants()
    maps = (*_MAPS, "forward", "inverse")

    def _run_interface(self, runtime: Any) -> Any:
        template = self.inputs.template
        space, folder = template.space, Path(runtime.cwd)
        measures = {}
        try:
            measures = self._register(runtime)
        except Exception as error:  # foreign code; native maps are worth more than these
            for name in self.maps:
                self._results.pop(name, None)
            failed = {f"template_error_{space.template}": f"{type(error).__name__}: {error}"}
            self._note(runtime, [], ["template_registration_failed"], **failed)
        else:
            dois = f"{_SYN} {_MNI_2009}" if "2009" in space.template else _SYN
            self._note(
                runtime,
                [(_SENTENCE.format(space=space), dois)],
                **{f"template_space_{space.template}": str(space)},
            )
        self._results["measures"] = str(write_json(folder / "measures.json", measures))
        return runtime

    def _register(self, runtime: Any) -> dict[str, float]:
        inputs, folder, template = self.inputs, Path(runtime.cwd), self.inputs.template
        magnitude = images.load_stack([inputs.magnitude])
        affine = magnitude.affine
        combined = images.save_volume(
            combined_magnitude(magnitude.data), affine, folder / "combined.nii"
        )
        moving = skull_stripped(combined, Path(inputs.brain_mask), folder / "moving.nii")
        fixed = skull_stripped(template.fixed.t1w, template.fixed.mask, folder / "fixed.nii")
        transforms = self.registration.register(moving, fixed, folder)

        def resample(names: dict[str, str], mask: str) -> Any:
            return resample_inside(
                {name: images.load_volume(path).data for name, path in names.items()},
                images.load_volume(mask).data,
                affine,
                grid=template.grid.t1w,
                transform=transforms.forward,
                folder=folder,
                registration=self.registration,
            )

        chi, eroded = resample({"chi_ppm": inputs.chi_ppm}, inputs.eroded_mask)
        inside = {"magnitude": str(combined)}
        if isdefined(inputs.r2star):
            inside["r2star"] = inputs.r2star
        others, brain = resample(inside, inputs.brain_mask)
        grid = images.load_volume(template.grid.mask)
        self._save(runtime, grid.affine, **chi, **others, eroded_mask=eroded, brain_mask=brain)
        self._results["forward"] = str(transforms.forward)
        self._results["inverse"] = str(transforms.inverse)
        return measure_template(template.space.template, brain, grid.data)


class _WriteTemplateInput(BaseInterfaceInputSpec):
    acquisition = traits.Instance(Acquisition, mandatory=True)
    output_dir = traits.Str(mandatory=True)
    template = traits.Instance(Template, mandatory=True)
    chi_ppm = File(exists=True)
    r2star = File(exists=True)
    eroded_mask = File(exists=True)
    brain_mask = File(exists=True)
    magnitude = File(exists=True)
    forward = File(exists=True)
    inverse = File(exists=True)
    summary = File(exists=True, mandatory=True, desc="of the native outputs, which come first")


class WriteTemplate(Step):
    """Write the derivatives of one template space and its figure."""

    input_spec, output_spec = _WriteTemplateInput, TraitedSpec
    _always_run = True

    def _run_interface(self, runtime: Any) -> Any:
        inputs, scan, template = self.inputs, self.inputs.acquisition, self.inputs.template
        output_dir, space = Path(inputs.output_dir), template.space
        figure = template_figure_path(figure_folder(output_dir, scan), scan.name, space.template)
        remove_outdated(output_dir, scan, space=space.template)
        if not isdefined(inputs.chi_ppm):
            figure.unlink(missing_ok=True)  # an earlier run's, which the report would show
            return runtime

        for name, end in (("forward", (scan.suffix, space.template)),
                          ("inverse", (space.template, scan.suffix))):  # fmt: skip
            path = transform_path(output_dir, scan, *end)
            with replacing(path) as partial:
                shutil.copyfile(getattr(inputs, name), partial)

        maps = {}
        for key in ("chi_ppm", "r2star", "brain_mask", "eroded_mask"):
            if not isdefined(getattr(inputs, key)):
                continue
            volume = images.load_volume(getattr(inputs, key))
            maps[key] = volume.data.astype(np.uint8) if key.endswith("mask") else volume.data
            native = output_path(output_dir, scan, key)
            fields = {
                # flags, reference, weights: whoever averages these maps must see them
                **read_json(beside(native, ".json")),
                "Sources": [f"bids::{native.relative_to(output_dir).as_posix()}"],
                "SpatialReference": template.reference,
            }
            if space.resolution:
                fields["Resolution"] = f"Grid {space.resolution} of the template"
            write_output(
                output_dir, scan, key, maps[key], volume.affine, fields, entities=space.entities
            )
        draw_template_figure(
            figure,
            f"{space}",
            template_t1w=images.load_volume(template.grid.t1w).data,
            template_brain=images.load_volume(template.grid.mask).data > 0,
            magnitude=images.load_volume(inputs.magnitude).data,
            chi_ppm=maps["chi_ppm"],
            eroded_mask=maps["eroded_mask"] > 0,
            affine=volume.affine,
        )
        return runtime
