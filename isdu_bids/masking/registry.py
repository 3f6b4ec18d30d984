"""Mask methods by name.

Each returns a boolean volume ``(x, y, z)``. Of the inputs, ``magnitude`` is ``(echo, x, y, z)``,
``quality`` comes from :func:`isdu_bids.phase.romeo.voxel_quality`, which needs no mask, and
``affine`` tells which way the axes point.
"""

from __future__ import annotations

from isdu_bids.registry import Method, Parameter, Registry

_TISSUE = Parameter(
    "tissue_fraction", 0.55, "least fraction of the mean magnitude around it", minimum=0
)
_NETWORK_INPUTS = ("magnitude", "quality", "voxel_size_mm", "affine")


def _reliable(threshold: float) -> Parameter:
    return Parameter("threshold", threshold, "lowest quality of reliable phase", minimum=0)


MASKS = Registry(
    "mask",
    Method(
        "combined",
        "isdu_bids.masking.brain:combined_mask",
        "brain in the magnitude, less its rim where the phase is unreliable",
        "10.1002/hbm.10062",
        inputs=("magnitude", "quality", "voxel_size_mm"),
        parameters=(_TISSUE, _reliable(0.2)),
    ),
    Method(
        "magnitude",
        "isdu_bids.masking.brain:magnitude_mask",
        "brain in the magnitude: inflated surface, tissue threshold, thin links cut",
        "10.1002/hbm.10062",
        inputs=("magnitude", "voxel_size_mm"),
        parameters=(_TISSUE,),
    ),
    Method(
        "quality",
        "isdu_bids.masking.brain:quality_mask",
        "part of the head where the phase is reliable, scalp included",
        "10.1002/mrm.28563",
        inputs=("quality", "voxel_size_mm"),
        parameters=(_reliable(0.4),),
    ),
    Method(
        "deepbet",
        "isdu_bids.masking.deepbet:deepbet_mask",
        "brain and its fluid by the network deepbet, less its rim where the phase is unreliable",
        "10.1016/j.compbiomed.2024.108845",
        inputs=_NETWORK_INPUTS,
        parameters=(
            Parameter("probability", 0.5, "least probability of the brain", minimum=0),
            _reliable(0.2),
        ),
    ),
    Method(
        "synthstrip",
        "isdu_bids.masking.synthstrip:synthstrip_mask",
        "brain and its fluid by the network SynthStrip, less its rim where the phase is unreliable",
        "10.1016/j.neuroimage.2022.119474",
        inputs=_NETWORK_INPUTS,
        parameters=(
            Parameter(
                "weights",
                None,
                "FreeSurfer's synthstrip.1.pt or its folder; none: $FREESURFER_HOME/models",
                kind=str,
                option="--synthstrip-weights",
            ),
            Parameter("border_mm", 1.0, "distance from the brain up to which it reaches", "mm"),
            _reliable(0.2),
        ),
        locate="isdu_bids.masking.synthstrip:locate_synthstrip",
        prepare="isdu_bids.masking.synthstrip:prepare_synthstrip",
    ),
    default="combined",
)
