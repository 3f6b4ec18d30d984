"""The branch of a scan's workflow that leads to template spaces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from isdu_bids.interfaces.template import RegisterTemplate, WriteTemplate
from isdu_bids.template.find import Template
from isdu_bids.workflows.corridor import Corridor, Maps


@dataclass(frozen=True)
class Registered:
    """A template, and the maps of the scan in its space."""

    template: Template
    maps: Maps


def connect_registrations(
    corridor: Corridor, maps: Maps, templates: Sequence[Template]
) -> list[Registered]:
    """Register the scan to each template and resample its maps."""
    registered = []
    for template in templates:
        made = corridor.add(
            f"template_{template.space.template}",
            RegisterTemplate(template=template),
            maps,
            mem_gb=corridor.memory.template_gb,
            n_procs=corridor.omp_nthreads,
        )
        registered.append(Registered(template, made))
    return registered


def connect_template_outputs(
    corridor: Corridor, maps: Maps, registered: Sequence[Registered]
) -> None:
    """Write the maps in each template space, once the sidecars of the native ones are there."""
    for space in registered:
        write = WriteTemplate(template=space.template)
        taken = {**space.maps, "summary": maps["summary"]}
        corridor.add(f"write_template_{space.template.space.template}", write, taken, mem_gb=1.0)
