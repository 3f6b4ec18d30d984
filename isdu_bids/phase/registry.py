"""Methods from the phase to the total field, and of the decay of the magnitude, by name.

Volumes of echoes are ``(echo, x, y, z)``.
"""

from __future__ import annotations

from typing import Literal, get_args

from isdu_bids.echoes import MIN_BIPOLAR_ECHOES, MIN_DECAY_ECHOES, MIN_OFFSET_ECHOES
from isdu_bids.registry import Method, Parameter, Registry

#: What to do about the sign of the phase: turn one that is clearly reversed, or do as told.
Sign = Literal["auto", "keep", "turn"]
SIGNS: tuple[Sign, ...] = get_args(Sign)

_OFFSET_INPUTS = ("phase_rad", "magnitude", "echo_times_s", "mask", "voxel_size_mm")
_SMOOTHING = Parameter("smoothing_mm", 7.0, "width of the Gaussian mean", "mm", minimum=0)

#: Each returns the phase to remove from each echo, rad.
OFFSET = Registry(
    "phase offset",
    Method(
        "monopolar",
        "isdu_bids.phase.offsets:phase_offset",
        "MCPC-3D-S from the first two echoes",
        "10.1002/mrm.26963",
        inputs=_OFFSET_INPUTS,
        parameters=(_SMOOTHING,),
        min_echoes=MIN_OFFSET_ECHOES,
    ),
    Method(
        "bipolar",
        "isdu_bids.phase.offsets:alternating_offset",
        "MCPC-3D-S, and the phase that alternates with the readout direction",
        "10.1002/mrm.26963 10.34726/hss.2021.43447",
        inputs=_OFFSET_INPUTS,
        parameters=(_SMOOTHING,),
        min_echoes=MIN_BIPOLAR_ECHOES,
    ),
    auto=Method(
        "auto",
        "isdu_bids.phase.offsets:offset_method",
        "monopolar for two echoes or more, else none",
        "",
        inputs=("echo_times_s",),
    ),
    none="the offset stays in the field",
    default="auto",
)

#: Each returns the unwrapped phase of every echo, 0 outside the mask.
UNWRAPPING = Registry(
    "unwrapping",
    Method(
        "romeo",
        "isdu_bids.phase.romeo:unwrap_romeo",
        "ROMEO: region growing along the most reliable edges, in space and over echoes",
        "10.1002/mrm.28563",
        inputs=("phase_rad", "mask", "echo_times_s"),
        optional=("magnitude",),
        parameters=(
            Parameter(
                "multi_echo",
                "template",
                "echoes are unwrapped in time from the first, or each in space",
                choices=("template", "individual"),
            ),
        ),
    ),
    Method(
        "laplacian",
        "isdu_bids.phase.laplacian:unwrap_laplacian",
        "Laplacian: Poisson equation of the wrapped differences; no fringe lines, but not exact",
        "10.1364/OL.28.001194",
        inputs=("phase_rad", "mask", "echo_times_s", "voxel_size_mm"),
        parameters=(Parameter("exact", False, "whole turns only are added to the phase"),),
    ),
    Method(
        "best_path",
        "isdu_bids.phase.best_path:unwrap_best_path",
        "Best path: voxels sorted by their second differences (scikit-image)",
        "10.1364/AO.46.006623",
        inputs=("phase_rad", "mask", "echo_times_s"),
    ),
    default="romeo",
)

_FIT_INPUTS = ("unwrapped_rad", "magnitude", "echo_times_s", "mask")


def _mean(name: str, description: str) -> Method:
    target = f"isdu_bids.phase.fitting:{name}_mean"
    return Method(name, target, description, "10.1002/mrm.28563", _FIT_INPUTS, linear=True)


#: Each returns a :class:`isdu_bids.phase.fitting.FieldFit`.
COMBINATION = Registry(
    "echo combination",
    _mean("phase_snr", "SNR-weighted mean of the echoes (weights M TE)"),
    _mean(
        "phase_var",
        "inverse-variance-weighted mean of the echoes (weights M^2 TE^2), which is least squares",
    ),
    _mean("average", "unweighted mean of the echoes"),
    _mean("echo_time", "mean of the echoes weighted by TE"),
    _mean("magnitude", "mean of the echoes weighted by the magnitude"),
    Method(
        "linear",
        "isdu_bids.phase.fitting:line",
        "slope of a weighted straight line over echo time, fitted with a phase offset",
        "10.1002/mrm.30006",
        inputs=_FIT_INPUTS,
        linear=True,
        min_echoes=MIN_OFFSET_ECHOES,
    ),
    Method(
        "nonlinear",
        "isdu_bids.phase.fitting:complex_exponential",
        "frequency of a complex exponential over echo time, fitted with a phase offset",
        "10.1002/mrm.24272",
        inputs=_FIT_INPUTS,
        parameters=(Parameter("iterations", 6, "steps of Gauss-Newton", minimum=0),),
        min_echoes=MIN_OFFSET_ECHOES,
    ),
    default="phase_snr",
)

_DECAY_INPUTS = ("signals", "times_s")

#: Each returns R2* (1/s) of ``signals`` of shape ``(echo, voxel)`` at ``times_s``, ``(echo, 1)``.
RELAXATION = Registry(
    "R2*",
    Method(
        "arlo",
        "isdu_bids.phase.relaxation:arlo",
        "ARLO: closed form for evenly spaced echoes",
        "10.1002/mrm.25137",
        inputs=_DECAY_INPUTS,
        min_echoes=MIN_DECAY_ECHOES,
    ),
    Method(
        "loglinear",
        "isdu_bids.phase.relaxation:loglinear",
        "weighted line through the logarithm",
        "10.1002/mrm.25137",
        inputs=_DECAY_INPUTS,
        min_echoes=MIN_DECAY_ECHOES,
    ),
    Method(
        "nonlinear",
        "isdu_bids.phase.relaxation:nonlinear",
        "nonlinear least squares of the exponential",
        "10.1002/mrm.25137",
        inputs=_DECAY_INPUTS,
        parameters=(Parameter("iterations", 20, "steps of Gauss-Newton", minimum=0),),
        min_echoes=MIN_DECAY_ECHOES,
    ),
    auto=Method(
        "auto",
        "isdu_bids.phase.relaxation:relaxation_method",
        "arlo for evenly spaced echoes, else loglinear",
        "",
        inputs=("echo_times_s",),
        min_echoes=MIN_DECAY_ECHOES,
    ),
    default="auto",
)
