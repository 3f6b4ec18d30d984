"""From the total field to the referenced susceptibility."""

from __future__ import annotations

from isdu_bids.background.registry import BACKGROUND
from isdu_bids.interfaces.chi import InvertField, MergePasses, ReferenceChi
from isdu_bids.interfaces.field import RemoveBackground
from isdu_bids.inversion.registry import INVERSION, REFERENCE, VOLUMES
from isdu_bids.registry import Method
from isdu_bids.workflows.corridor import Corridor, Maps

#: Map that an input of a method comes from, where its name is another.
_SOURCES = {"field_ppm": "local_field_ppm", "mask": "eroded_mask", "r2star_per_s": "r2star"}


def connect_chi(corridor: Corridor, maps: Maps) -> Maps:
    """Remove the background and invert, in one pass or in two, and set the zero."""
    settings = corridor.settings
    made = connect_pass(corridor, maps)
    if settings.two_pass:
        every_voxel = {**maps, "trusted_mask": maps["measured_mask"]}
        passes = {"inner": made, "whole": connect_pass(corridor, every_voxel, "_whole")}
        both = {f"{name}_{key}": made[key] for name, made in passes.items() for key in made}
        made = corridor.add("merge", MergePasses(), both)
    choice = REFERENCE.resolved(settings.reference, {})
    needed = method_inputs(REFERENCE[choice.name], maps | made) if choice else {}
    reference = ReferenceChi(region=str(settings.reference))
    return made | corridor.add("reference", reference, made | needed)


def connect_pass(corridor: Corridor, maps: Maps, suffix: str = "") -> Maps:
    """Local field inside the trusted mask, and its susceptibility."""
    settings, memory = corridor.settings, corridor.memory
    background = RemoveBackground(**corridor.method(BACKGROUND, settings.background))
    made = corridor.add(f"background{suffix}", background, maps, mem_gb=memory.background_gb)
    taken = method_inputs(INVERSION[settings.inversion.name], maps | made)
    made["eroded_mask"] = taken["mask"]
    if settings.uncertainty:
        taken["field_sd_ppm"] = maps["field_sd_ppm"]
    inversion = InvertField(
        uncertainty=settings.uncertainty, **corridor.method(INVERSION, settings.inversion)
    )
    return made | corridor.add(f"inversion{suffix}", inversion, taken, mem_gb=memory.inversion_gb)


def method_inputs(method: Method, maps: Maps) -> Maps:
    """Collect the maps that a method takes, by the names of its inputs.

    A method of the total field gives susceptibility wherever that can be trusted.
    """
    sources = dict(_SOURCES)
    if method.takes(["total_field_ppm"]):
        sources["mask"] = "trusted_mask"
    names = {name: sources.get(name, name) for name in method.takes(VOLUMES)}
    return {name: maps[source] for name, source in names.items() if source in maps}
