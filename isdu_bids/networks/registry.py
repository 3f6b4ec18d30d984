"""The inversions by networks, as entries of `isdu_bids.inversion.registry`."""

from __future__ import annotations

from isdu_bids.registry import Method, Parameter

#: Grids a network can run on; see `isdu_bids.networks.inference.isdu`.
GRIDS = ("auto", "native", "resampled", "aligned")
#: Precisions of the denoisers.
PRECISIONS = ("single", "half")

#: Name of the packaged weights that run where none are named.
DEFAULT_WEIGHTS = "isdu_ms3"

ISDU = Method(
    "isdu",
    "isdu_bids.networks.inference:isdu",
    "ISDU-QSMNet, an unrolled network whose iteration-specific denoisers alternate with dipole "
    "data consistency in closed form",
    "vaddadi2025",
    inputs=("field_ppm", "mask", "voxel_size_mm", "b0_direction"),
    optional=("field_sd_ppm",),
    parameters=(
        Parameter(
            "weights",
            DEFAULT_WEIGHTS,
            "weights of the network: a name or a file",
            option="--weights",
        ),
        Parameter(
            "weights_iterations",
            None,
            "iterations K of published checkpoints that do not store them",
            kind=int,
            minimum=1,
            option="--weights-iterations",
        ),
        Parameter(
            "model_error_ppm",
            None,
            "error of the field beside its phase noise, for networks that see the noise; by "
            "default what the zero cone shows, 0 for simulated fields",
            "ppm",
            kind=float,
            minimum=0,
            option="--model-error",
        ),
        Parameter(
            "grid",
            "auto",
            "grid that the network runs on; auto: what suits its weights",
            choices=GRIDS,
            option="--grid",
        ),
        Parameter(
            "precision",
            "single",
            "precision of the network; half is faster",
            choices=PRECISIONS,
            option="--precision",
        ),
        Parameter("crop", True, "only what surrounds the mask is computed"),
    ),
    locate="isdu_bids.networks.inference:locate_isdu",
    prepare="isdu_bids.networks.inference:prepare_isdu",
)
