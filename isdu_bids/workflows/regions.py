"""Regions of a scan and the statistics of its maps in them."""

from __future__ import annotations

from isdu_bids.interfaces.regions import MeasureRegions, SegmentMagnitude
from isdu_bids.segmentation.registry import SEGMENTATION, sees_susceptibility
from isdu_bids.workflows.contents import label_files
from isdu_bids.workflows.corridor import Corridor, Maps


def connect_regions(corridor: Corridor, maps: Maps) -> Maps:
    """Label the regions by a network, or take the user's labels, and measure the maps there."""
    settings, memory, dseg = corridor.settings, corridor.memory, corridor.acquisition.dseg_file
    choice = None if dseg else SEGMENTATION.resolved(settings.segmentation, {})
    contents = corridor.contents.of([dseg, *label_files(dseg)] if dseg else [])
    seen = {"magnitude": maps["magnitude"]}
    if dseg:
        segment = SegmentMagnitude(dseg_file=str(dseg), contents=contents)
    elif choice is not None:
        segment = SegmentMagnitude(**corridor.method(SEGMENTATION, choice))
        if sees_susceptibility(SEGMENTATION[choice.name]):
            seen["chi_ppm"] = maps["chi_ppm"]
    else:
        if SEGMENTATION.is_left_open(settings.segmentation):
            corridor.flags.append("regions_not_labelled")
        return {}
    made = corridor.add("segmentation", segment, seen, mem_gb=memory.segmentation_gb)
    regions = MeasureRegions(dseg_file=str(dseg) if dseg else None, contents=contents)
    return made | corridor.add("regions", regions, maps | made, mem_gb=memory.load_gb)
