"""The corridor of one scan: phase -> field -> background -> inversion -> report. Wiring only."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from nipype.pipeline import engine as pe

from isdu_bids.bids.acquisition import Acquisition
from isdu_bids.geometry import Triple
from isdu_bids.settings import Settings
from isdu_bids.template.find import Template
from isdu_bids.workflows.chi import connect_chi
from isdu_bids.workflows.contents import Contents
from isdu_bids.workflows.corridor import Corridor
from isdu_bids.workflows.field import connect_field, connect_relaxation
from isdu_bids.workflows.memory import Memory
from isdu_bids.workflows.outputs import connect_outputs, connect_quality
from isdu_bids.workflows.regions import connect_regions
from isdu_bids.workflows.template import connect_registrations, connect_template_outputs


def init_scan_wf(
    *,
    acquisition: Acquisition,
    b0_direction: Triple,
    settings: Settings,
    output_dir: Path,
    memory: Memory,
    contents: Contents,
    templates: Sequence[Template] = (),
    omp_nthreads: int = 1,
    use_gpu: bool = False,
    command: str = "",
    write_fields: bool = True,
) -> pe.Workflow:
    """Workflow of one acquisition.

    Every step of the walk takes the maps made before it, and adds its own.

    Parameters
    ----------
    acquisition, b0_direction, settings, output_dir, memory, contents, omp_nthreads, use_gpu
        See `isdu_bids.workflows.corridor.Corridor`.
    command
        See `isdu_bids.workflows.corridor.Corridor`.
    templates
        Those of the settings' output spaces that can be used.
    write_fields
        False where two scans would write field maps of one name.
    """
    corridor = Corridor(
        pe.Workflow(name=workflow_name(acquisition)),
        acquisition,
        b0_direction,
        settings,
        output_dir,
        memory,
        contents,
        omp_nthreads,
        use_gpu,
        command,
    )
    maps = connect_field(corridor)
    maps |= connect_relaxation(corridor, maps)
    maps |= connect_chi(corridor, maps)
    maps |= connect_regions(corridor, maps)
    registered = connect_registrations(corridor, maps, templates)
    maps |= connect_quality(corridor, maps, registered)
    maps |= connect_outputs(corridor, maps, registered, write_fields=write_fields)
    connect_template_outputs(corridor, maps, registered)
    return corridor.workflow


def workflow_name(acquisition: Acquisition) -> str:
    """Name of a scan that Nipype accepts.

    Examples
    --------
    >>> workflow_name(Acquisition("01", run="2", field_strength_t=3.0))
    'sub_01_run_2'
    """
    return re.sub(r"\W", "_", acquisition.name)
