"""The background field removals by name."""

from __future__ import annotations

from isdu_bids.registry import Method, Registry

BACKGROUND = Registry(
    "background removal",
    Method(
        "vsharp",
        "isdu_bids.background.sharp:vsharp",
        "V-SHARP: spherical mean values with the largest radius that fits, 12 to 1 mm",
        "10.1016/j.neuroimage.2010.11.088",
    ),
    Method(
        "sharp",
        "isdu_bids.background.sharp:sharp",
        "SHARP: spherical mean values of one radius",
        "10.1016/j.neuroimage.2010.10.070",
    ),
    Method(
        "resharp",
        "isdu_bids.background.resharp:resharp",
        "RESHARP: SHARP as a regularised least-squares problem",
        "10.1002/mrm.24765",
    ),
    Method(
        "ismv",
        "isdu_bids.background.harmonic:ismv",
        "iSMV: the harmonic field that agrees with the total field in a rim one radius thick",
        "10.1002/mrm.24998",
    ),
    Method(
        "pdf",
        "isdu_bids.background.pdf:pdf",
        "PDF: projection onto the fields of dipoles outside the mask, weighted by field precision",
        "10.1002/nbm.1670",
    ),
    Method(
        "lbv",
        "isdu_bids.background.harmonic:lbv",
        "LBV: the harmonic field that agrees with the total field in the outermost layer",
        "10.1002/nbm.3064",
    ),
    Method(
        "jdf",
        "isdu_bids.background.jdf:jdf",
        "JDF: dipoles outside and inside the mask fitted together, after LBV, without outliers",
        "10.1002/mrm.26331",
    ),
)

#: Best over the whole mask on most heads; what was seen of them is told in docs/background.md.
DEFAULT = "jdf"
