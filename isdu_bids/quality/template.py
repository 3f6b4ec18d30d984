"""How well a scan lies on a template: overlap of the brain masks, and its threshold."""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan
from typing import Any

import numpy.typing as npt

from isdu_bids.evaluation.metrics import dice
from isdu_bids.quality.flags import Flag

_NAME = "template_dice_"

#: Whole brains reach 0.97. 9 mm of shift or 20 degrees of turn leave 0.90, and so does a mask that
#: lacks the lower third of the brain; one that is 3 mm too small all around keeps 0.94.
_LEAST_DICE = 0.9


def measure_template(
    space: str, brain: npt.NDArray[Any], template_brain: npt.NDArray[Any]
) -> dict[str, float]:
    """Dice of the scan's brain mask in the template's space with the template's own mask.

    Parameters
    ----------
    space
        Name of the template.
    brain, template_brain
        Masks on one grid.
    """
    return {f"{_NAME}{space}": dice(brain > 0, template_brain > 0)}


def flag_template(measures: Mapping[str, Any]) -> list[Flag]:
    """Remark on the spaces that a scan does not fit; none without template spaces."""
    poor = [
        f"{name.removeprefix(_NAME)} {value:.2f}"
        for name, value in measures.items()
        if name.startswith(_NAME) and (isnan(value) or value < _LEAST_DICE)
    ]
    if not poor:
        return []
    return [
        Flag(
            "template_registration_poor",
            "warning",
            f"the brain overlaps little with the template's (Dice {', '.join(poor)}), or part of "
            "it was not scanned: look at the figure before using maps in template space",
        )
    ]
