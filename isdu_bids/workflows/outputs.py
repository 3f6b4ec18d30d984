"""The end of the corridor: quality measures, figures, derivatives."""

from __future__ import annotations

from collections.abc import Sequence

from isdu_bids.interfaces.outputs import DrawFigures, MeasureQuality, WriteDerivatives
from isdu_bids.template.spaces import parse_spaces
from isdu_bids.workflows.corridor import Corridor, Maps
from isdu_bids.workflows.template import Registered


def connect_quality(corridor: Corridor, maps: Maps, registered: Sequence[Registered]) -> Maps:
    """Measure whether the maps can be believed."""
    further = [space.maps["measures"] for space in registered]
    taken = maps | (corridor.gather("further", further) if further else {})
    return corridor.add("quality", MeasureQuality(), taken, mem_gb=corridor.memory.field_gb)


def connect_outputs(
    corridor: Corridor, maps: Maps, registered: Sequence[Registered], *, write_fields: bool
) -> Maps:
    """Draw the figures, and write the derivatives and the summary of the scan."""
    spaces = [space.template for space in parse_spaces(corridor.settings.output_spaces)]
    used = [space.template.space.template for space in registered]
    flags = corridor.flags + (["template_unavailable"] if len(used) < len(spaces) else [])
    write = WriteDerivatives(write_fields=write_fields, flags=flags, templates=spaces)
    taken = maps | corridor.gather("notes", [(step, "notes") for step in corridor.steps])
    written = corridor.add("write", write, taken, mem_gb=corridor.memory.load_gb)
    # after the maps, so that a page never shows new figures beside old maps
    figures = DrawFigures(templates=used)
    corridor.add("figures", figures, maps | written, mem_gb=corridor.memory.field_gb)
    return written
