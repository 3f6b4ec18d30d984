"""From the files of a scan to its total field, and to the decay of its magnitude."""

from __future__ import annotations

from isdu_bids.interfaces.field import LoadScan, MapField, MapRelaxation, MaskBrain, TakeMask
from isdu_bids.masking.registry import MASKS
from isdu_bids.phase.registry import RELAXATION
from isdu_bids.workflows.corridor import Corridor, Maps


def connect_field(corridor: Corridor) -> Maps:
    """Read the scan, mask the brain, unwrap the phase and combine the echoes."""
    scan, settings, memory = corridor.acquisition, corridor.settings, corridor.memory
    load = LoadScan(
        magnitude_files=list(map(str, scan.magnitude_files)),
        phase_files=list(map(str, scan.phase_files)),
        real_files=list(map(str, scan.real_files)),
        imag_files=list(map(str, scan.imag_files)),
        phase_units=scan.phase_units,
        manufacturer=scan.manufacturer,
        phase_range=settings.phase_range,
        flags=list(scan.flags),
        contents=corridor.contents.of(scan.source_files),
    )
    maps = corridor.add("load", load, mem_gb=memory.load_gb)
    maps |= connect_mask(corridor, maps)
    field = MapField(
        offset=str(settings.offset),
        sign=settings.phase_sign,
        unwrapping=str(settings.unwrapping),
        combination=str(settings.combination),
    )
    return maps | corridor.add("field", field, maps, mem_gb=memory.field_gb)


def connect_mask(corridor: Corridor, maps: Maps) -> Maps:
    """Mask the brain, or take the user's mask."""
    memory = corridor.memory
    if file := corridor.acquisition.mask_file:
        take = TakeMask(mask_file=str(file), contents=corridor.contents.of([file]))
        return corridor.add("mask", take, mem_gb=memory.load_gb)
    method = corridor.method(MASKS, corridor.settings.mask)
    is_network = bool(method["checksums"])
    mem_gb = max(memory.field_gb, memory.segmentation_gb if is_network else 0)
    return corridor.add("mask", MaskBrain(**method), maps, mem_gb=mem_gb)


def connect_relaxation(corridor: Corridor, maps: Maps) -> Maps:
    """Fit the decay of the magnitude, where there are echoes enough to tell it from noise."""
    choice = corridor.settings.relaxation
    if len(corridor.acquisition.echo_times_s) < RELAXATION.min_echoes(choice):
        return {}
    relaxation = MapRelaxation(method=str(choice))
    return corridor.add("relaxation", relaxation, maps, mem_gb=corridor.memory.field_gb)
