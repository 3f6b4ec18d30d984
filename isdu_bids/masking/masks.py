"""Mask methods by name.

Each takes ``(magnitude, *, quality=None, voxel_size_mm, affine=None)`` and returns a boolean
volume; ``quality`` comes from :func:`isdu_bids.phase.romeo.voxel_quality`, which needs no mask.
"""

from __future__ import annotations

from isdu_bids.registry import Method, Registry

MASKS = Registry(
    "mask",
    Method(
        "combined",
        "isdu_bids.masking.brain:combined_mask",
        "brain in the magnitude, less its rim where the phase is unreliable",
        "10.1002/hbm.10062",
    ),
    Method(
        "magnitude",
        "isdu_bids.masking.brain:magnitude_mask",
        "brain in the magnitude: inflated surface, tissue threshold, thin links cut",
        "10.1002/hbm.10062",
    ),
    Method(
        "quality",
        "isdu_bids.masking.brain:quality_mask",
        "part of the head where the phase is reliable, scalp included",
        "10.1002/mrm.28563",
    ),
    Method(
        "deepbet",
        "isdu_bids.masking.deepbet:deepbet_mask",
        "brain and its fluid by the network deepbet, less its rim where the phase is unreliable",
        "10.1016/j.compbiomed.2024.108845",
    ),
    Method(
        "synthstrip",
        "isdu_bids.masking.synthstrip:synthstrip_mask",
        "brain and its fluid by the network SynthStrip, less its rim where the phase is unreliable",
        "10.1016/j.neuroimage.2022.119474",
    ),
)
