"""The branch of a scan's workflow that leads to template spaces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from nipype.pipeline import engine as pe

from isdu_bids.bids.acquisition import Acquisition
from isdu_bids.interfaces.template import RegisterTemplate, WriteTemplate
from isdu_bids.template.find import Template


def connect_templates(
    workflow: pe.Workflow,
    templates: Sequence[Template],
    maps: Mapping[str, tuple[pe.Node, str]],
    native: pe.Node,
    *,
    acquisition: Acquisition,
    output_dir: Path,
    mem_gb: float,
    n_procs: int,
) -> list[pe.Node]:
    """Register a scan to each template and write its maps there.

    Parameters
    ----------
    workflow
        Of the scan.
    templates
        The spaces.
    maps
        Name of a map -> step and output that it comes from.
    native
        Writes the derivatives on the grid of the scan, whose sidecars are repeated.
    acquisition, output_dir
        As in `isdu_bids.workflows.scan.init_scan_wf`.
    mem_gb, n_procs
        Of a registration.

    Returns
    -------
    list of pe.Node
        The registrations, which have notes and measures.
    """
    registrations = []
    for template in templates:
        name = f"template_{template.space.template}"
        register = pe.Node(
            RegisterTemplate(template=template), name=name, mem_gb=mem_gb, n_procs=n_procs
        )
        write = WriteTemplate(
            acquisition=acquisition, output_dir=str(output_dir), template=template
        )
        write = pe.Node(write, name=f"write_{name}", mem_gb=1.0)
        for name in register.inputs.copyable_trait_names():
            if name in maps:
                workflow.connect(*maps[name], register, name)
        workflow.connect([(register, write, [(kept, kept) for kept in RegisterTemplate.maps])])
        workflow.connect(native, "summary", write, "summary")
        registrations.append(register)
    return registrations
