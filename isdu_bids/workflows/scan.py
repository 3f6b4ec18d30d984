"""The corridor of one scan: phase -> field -> background -> inversion -> report. Wiring only."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from nipype.interfaces.utility import Merge
from nipype.pipeline import engine as pe

from isdu_bids.bids.acquisition import Acquisition
from isdu_bids.echoes import MIN_DECAY_ECHOES
from isdu_bids.files import file_sha256
from isdu_bids.geometry import Triple
from isdu_bids.interfaces.chi import InvertField, MergePasses, ReferenceChi
from isdu_bids.interfaces.field import (
    LoadScan,
    MapField,
    MapRelaxation,
    MaskBrain,
    RemoveBackground,
)
from isdu_bids.interfaces.outputs import DrawFigures, MeasureQuality, WriteDerivatives
from isdu_bids.interfaces.regions import MeasureRegions, SegmentMagnitude
from isdu_bids.masking.synthstrip import find_synthstrip
from isdu_bids.networks.weights import weights_path, weights_sha256
from isdu_bids.segmentation.choose import judge_file, network_file
from isdu_bids.settings import Settings
from isdu_bids.template.find import Template
from isdu_bids.template.spaces import parse_spaces
from isdu_bids.workflows.memory import Memory
from isdu_bids.workflows.template import connect_templates


def init_scan_wf(
    *,
    acquisition: Acquisition,
    b0_direction: Triple,
    settings: Settings,
    output_dir: Path,
    memory: Memory,
    templates: Sequence[Template] = (),
    omp_nthreads: int = 1,
    use_gpu: bool = False,
    write_fields: bool = True,
) -> pe.Workflow:
    """Workflow of one acquisition.

    Parameters
    ----------
    acquisition
        The checked scan.
    b0_direction
        Unit vector in voxel axes.
    settings
        Methods and device.
    output_dir
        Root of the derivative dataset.
    memory
        What each step needs.
    templates
        Those of the settings' output spaces that can be used.
    omp_nthreads
        Threads of the steps that use several.
    use_gpu
        Whether steps take a GPU slot.
    write_fields
        False where two scans would write field maps of one name.
    """
    workflow = pe.Workflow(name=workflow_name(acquisition))
    echo_times_s = list(acquisition.echo_times_s)
    threads = 1 if use_gpu else omp_nthreads  # a GPU step takes its threads in GPU slots
    weights = {}
    if settings.inversion == "isdu":
        weights = {
            "weights": str(weights_path(settings.weights)),
            "weights_sha256": weights_sha256(settings.weights),
            "weights_iterations": settings.weights_iterations,
            "grid": settings.grid,
            "precision": settings.precision,
        }
    mask_weights = {}
    if settings.mask == "synthstrip" and not acquisition.mask_file:
        file = find_synthstrip(settings.synthstrip_weights)
        mask_weights = {"weights": str(file), "weights_sha256": file_sha256(file)}
    gpu = {"device": settings.device, "use_gpu": use_gpu}

    load = pe.Node(
        LoadScan(
            magnitude_files=list(map(str, acquisition.magnitude_files)),
            phase_files=list(map(str, acquisition.phase_files)),
            real_files=list(map(str, acquisition.real_files)),
            imag_files=list(map(str, acquisition.imag_files)),
            phase_units=acquisition.phase_units,
            manufacturer=acquisition.manufacturer,
            phase_range=settings.phase_range,
        ),
        name="load",
        mem_gb=memory.load_gb,
    )
    mask = pe.Node(
        MaskBrain(
            echo_times_s=echo_times_s,
            method=settings.mask,
            mask_file=str(acquisition.mask_file) if acquisition.mask_file else None,
            **mask_weights,
        ),
        name="mask",
        mem_gb=max(memory.field_gb, memory.segmentation_gb) if mask_weights else memory.field_gb,
    )
    field = pe.Node(
        MapField(
            echo_times_s=echo_times_s,
            field_strength_t=acquisition.field_strength_t,
            b0_direction=b0_direction,
            offset=settings.offset,
            sign=settings.phase_sign,
            unwrapping=settings.unwrapping,
            combination=settings.combination,
        ),
        name="field",
        mem_gb=memory.field_gb,
    )

    def local_steps(suffix: str) -> tuple[pe.Node, pe.Node]:
        background = pe.Node(
            RemoveBackground(b0_direction=b0_direction, method=settings.background, **gpu),
            name=f"background{suffix}",
            mem_gb=memory.background_gb,
            n_procs=threads,
        )
        inversion = pe.Node(
            InvertField(
                b0_direction=b0_direction,
                method=settings.inversion,
                **weights,
                **gpu,
            ),
            name=f"inversion{suffix}",
            mem_gb=memory.inversion_gb,
            n_procs=threads,
        )
        workflow.connect([
            (field, background, [
                ("field_ppm", "field_ppm"),
                ("field_sd_ppm", "field_sd_ppm"),
            ]),
            (background, inversion, [("field_ppm", "field_ppm"), ("mask", "mask")]),
        ])  # fmt: skip
        return background, inversion

    reference = pe.Node(ReferenceChi(region=settings.reference), name="reference")
    quality = pe.Node(
        MeasureQuality(echo_times_s=echo_times_s, b0_direction=b0_direction),
        name="quality",
        mem_gb=memory.field_gb,
    )
    figures = pe.Node(
        DrawFigures(
            acquisition=acquisition,
            output_dir=str(output_dir),
            templates=[template.space.template for template in templates],
        ),
        name="figures",
        mem_gb=memory.field_gb,
    )
    write = pe.Node(
        WriteDerivatives(
            acquisition=acquisition,
            b0_direction=b0_direction,
            output_dir=str(output_dir),
            write_fields=write_fields,
            flags=[],
            templates=[space.template for space in parse_spaces(settings.output_spaces)],
        ),
        name="write",
        mem_gb=memory.load_gb,
    )

    background, inversion = local_steps("")
    workflow.connect([
        (load, mask, [("magnitude", "magnitude"), ("phase", "phase")]),
        (load, field, [("magnitude", "magnitude"), ("phase", "phase")]),
        (mask, field, [("mask", "mask")]),
        (field, background, [("mask", "mask")]),
    ])  # fmt: skip
    steps = [load, mask, field, background, inversion]
    if settings.two_pass:
        whole_background, whole_inversion = local_steps("_whole")
        local = chi = pe.Node(MergePasses(), name="merge")
        workflow.connect([
            (field, whole_background, [("measured_mask", "mask")]),
            (background, local, [("field_ppm", "inner_field_ppm"), ("mask", "inner_mask")]),
            (inversion, local, [("chi_ppm", "inner_chi_ppm")]),
            (whole_background, local, [("field_ppm", "whole_field_ppm"), ("mask", "whole_mask")]),
            (whole_inversion, local, [("chi_ppm", "whole_chi_ppm")]),
        ])  # fmt: skip
        steps += [whole_background, whole_inversion, local]
    else:
        local, chi = background, inversion
        if settings.uncertainty:
            workflow.connect(field, "field_sd_ppm", inversion, "field_sd_ppm")
            workflow.connect(inversion, "chi_sd_ppm", write, "chi_sd")
    workflow.connect([
        (local, reference, [("mask", "mask")]),
        (chi, reference, [("chi_ppm", "chi_ppm")]),
    ])  # fmt: skip
    steps.append(reference)
    labels_from = _labels_from(acquisition, settings)

    relaxation = None
    if len(echo_times_s) >= MIN_DECAY_ECHOES:
        relaxation = pe.Node(
            MapRelaxation(echo_times_s=echo_times_s, method=settings.relaxation),
            name="relaxation",
            mem_gb=memory.field_gb,
        )
        steps.append(relaxation)
        workflow.connect([
            (load, relaxation, [("magnitude", "magnitude")]),
            (mask, relaxation, [("mask", "mask")]),
            (relaxation, write, [("r2star", "r2star"), ("t2star", "t2star"), ("s0", "s0")]),
        ])  # fmt: skip
        if settings.reference == "csf":
            workflow.connect(relaxation, "r2star", reference, "r2star")

    if labels_from:
        segmentation = pe.Node(
            SegmentMagnitude(**labels_from, **gpu),
            name="segmentation",
            mem_gb=memory.segmentation_gb,
            n_procs=threads,
        )
        measure = MeasureRegions(dseg_file=labels_from.get("dseg_file"))
        regions = pe.Node(measure, name="regions", mem_gb=memory.load_gb)
        steps += [segmentation, regions]
        workflow.connect([
            (load, segmentation, [("magnitude", "magnitude")]),
            (segmentation, regions, [("labels", "labels")]),
            (local, regions, [("mask", "mask")]),
            (reference, regions, [("chi_ppm", "chi_ppm")]),
            (segmentation, write, [("labels", "labels")]),
            (regions, write, [("regions", "regions")]),
            (segmentation, quality, [("volumes", "volumes")]),
            (regions, quality, [("regions", "regions")]),
            (regions, figures, [("regions", "regions")]),
            (segmentation, figures, [("labels", "labels")]),
        ])  # fmt: skip
        if not acquisition.dseg_file:
            workflow.connect(segmentation, "posterior", regions, "posterior")
        if relaxation is not None:
            workflow.connect(relaxation, "r2star", regions, "r2star")

    elif settings.segmentation == "auto":
        write.inputs.flags = ["regions_not_labelled"]

    if templates:
        maps = {
            "magnitude": (load, "magnitude"),
            "brain_mask": (mask, "mask"),
            "eroded_mask": (local, "mask"),
            "chi_ppm": (reference, "chi_ppm"),
        }
        if relaxation is not None:
            maps["r2star"] = (relaxation, "r2star")
        registrations = connect_templates(
            workflow,
            templates,
            maps,
            write,
            acquisition=acquisition,
            output_dir=output_dir,
            mem_gb=memory.template_gb,
            n_procs=omp_nthreads,
        )
        steps += registrations
        further = pe.Node(Merge(len(templates)), name="further", run_without_submitting=True)
        for index, registration in enumerate(registrations, start=1):
            workflow.connect(registration, "measures", further, f"in{index}")
        workflow.connect(further, "out", quality, "further")
    if len(templates) < len(parse_spaces(settings.output_spaces)):
        write.inputs.flags = [*write.inputs.flags, "template_unavailable"]

    notes = pe.Node(Merge(len(steps)), name="notes", run_without_submitting=True)
    for index, step in enumerate(steps, start=1):
        workflow.connect(step, "notes", notes, f"in{index}")

    for sink in (quality, figures, write):
        workflow.connect([
            (load, sink, [("magnitude", "magnitude")]),
            (mask, sink, [("mask", "brain_mask")]),
            (field, sink, [("field_ppm", "total_field_ppm"), ("quality", "quality")]),
            (local, sink, [("field_ppm", "local_field_ppm"), ("mask", "eroded_mask")]),
            (reference, sink, [("chi_ppm", "chi_ppm")]),
        ])  # fmt: skip
    workflow.connect([
        (load, figures, [("phase", "wrapped")]),
        (field, figures, [("unwrapped", "unwrapped")]),
        (field, write, [("unwrapped", "unwrapped"), ("field_sd_ppm", "field_sd_ppm")]),
        (quality, write, [("measures", "measures")]),
        (notes, write, [("out", "notes")]),
    ])  # fmt: skip
    return workflow


def _labels_from(acquisition: Acquisition, settings: Settings) -> dict[str, str]:
    """Tell where labels come from: the user, a network by its file and checksum, or nowhere."""
    if acquisition.dseg_file:
        return {"dseg_file": str(acquisition.dseg_file)}
    network = network_file(settings.segmentation, settings.synthseg_weights)
    if network is None:
        return {}
    judge = judge_file(network)
    return {
        "method": settings.segmentation,
        "weights": str(network),
        "weights_sha256": file_sha256(network),
        **({"judge": str(judge), "judge_sha256": file_sha256(judge)} if judge else {}),
    }


def workflow_name(acquisition: Acquisition) -> str:
    """Name of a scan that Nipype accepts.

    Examples
    --------
    >>> workflow_name(Acquisition("01", run="2", field_strength_t=3.0))
    'sub_01_run_2'
    """
    return re.sub(r"\W", "_", acquisition.name)
