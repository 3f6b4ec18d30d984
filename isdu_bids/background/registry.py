"""The background field removals by name."""

from __future__ import annotations

from isdu_bids.background.sharp import sharp, vsharp
from isdu_bids.registry import Method, Registry

BACKGROUND = Registry(
    "background removal",
    Method(
        "vsharp",
        vsharp,
        "V-SHARP: spherical mean values with the largest radius that fits, 12 to 1 mm.",
        "10.1016/j.neuroimage.2010.11.088",
    ),
    Method(
        "sharp",
        sharp,
        "SHARP: spherical mean values of one radius.",
        "10.1016/j.neuroimage.2010.10.070",
    ),
)

DEFAULT = "vsharp"
