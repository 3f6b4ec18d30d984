"""What a reader must be told before looking at a map, and what processing met on the way."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Literal, NamedTuple

Severity = Literal["error", "warning", "info"]


class Flag(NamedTuple):
    """One remark on a scan, worst severity first in a report."""

    name: str
    severity: Severity
    message: str


def worst_first(flags: Iterable[Flag]) -> list[Flag]:
    """Remarks by severity, otherwise in their order; a preliminary network comes before all."""
    order = ("error", "warning", "info")
    return sorted(
        flags, key=lambda flag: (flag.name != "preliminary_weights", order.index(flag.severity))
    )


class _Remark(NamedTuple):
    step: str | None  # whose results it concerns, by the name of its fact; None: all of the scan
    severity: Severity
    message: str


#: Names that processing steps give to what they met, as a reader must understand them.
_PROCESSING = {
    "sign_right": _Remark(
        "phase_scaling", "info", "the sign of the phase agrees with the outline of the head"
    ),
    "sign_unclear": _Remark(
        "phase_scaling", "warning", "the outline of the head does not tell the sign of the phase"
    ),
    "sign_unchecked": _Remark("phase_scaling", "warning", "the sign of the phase was not checked"),
    "sign_reversed": _Remark(
        "phase_scaling", "warning", "the sign of the phase contradicts the outline of the head"
    ),
    "sign_turned": _Remark(
        "phase_scaling", "warning", "the sign of the phase was turned (--phase-sign)"
    ),
    "b0_direction_doubtful": _Remark(
        None,
        "error",
        "the outline of the head fits another direction of B0 much better than that of the affine: "
        "check the affine (was the image turned without it?), or give --b0-direction",
    ),
    "single_echo": _Remark(
        None,
        "error",
        "a single echo: an unknown phase offset of coils and transmitter is part of the field, and "
        "one radian of it is as large as tissue or larger; susceptibility values are not reliable",
    ),
    "echo_sign_repaired": _Remark(
        "phase_scaling", "warning", "the phase of an echo had the opposite sign and was turned"
    ),
    "echo_offset": _Remark(
        "unwrapping",
        "warning",
        "the phase of an echo is off the others by a constant: a bipolar readout (--offset), or an "
        "echo that was scaled or converted in another way",
    ),
    "echoes_disagree": _Remark(
        "phase_scaling",
        "warning",
        "the phases of the echoes do not grow in proportion to echo time as well as they should: "
        "noise, motion, or an EchoTime that is wrong",
    ),
    "echo_times_doubtful": _Remark(
        None,
        "warning",
        "the phases fit evenly spaced echoes better than the uneven echo times that are stated: "
        "check EchoTime",
    ),
    "echoes_not_compared": _Remark(
        "phase_scaling", "warning", "there is too little signal to compare the echoes"
    ),
    "decay_too_fast": _Remark(
        None,
        "error",
        "the signal decays several times faster than a head's: check EchoTime (in seconds)",
    ),
    "decay_too_slow": _Remark(
        None,
        "error",
        "the signal hardly decays from echo to echo: check EchoTime and the magnitudes",
    ),
    "decay_unusual": _Remark(
        None,
        "warning",
        "R2* of the brain is far from that of healthy adults at this field strength (usual in "
        "infants): check EchoTime and MagneticFieldStrength, whose errors scale susceptibility",
    ),
    "magnitudes_disagree": _Remark(
        None,
        "warning",
        "the magnitudes of the echoes do not decay together: one is noisy, has moved, or is of "
        "another scan",
    ),
    "magnitude_not_finite": _Remark(
        None,
        "warning",
        "the magnitude holds values that are not finite, or next to it, which count as no signal",
    ),
    "magnitude_saturated": _Remark(
        None,
        "warning",
        "the brightest voxels of an echo all have one value: the magnitude is cut off there",
    ),
    "magnitude_spikes": _Remark(
        None,
        "warning",
        "single voxels of the magnitude were many times brighter than any tissue, and got the "
        "median of their neighbours",
    ),
    "signal_missing": _Remark(
        None,
        "warning",
        "in part of the head an echo's magnitude or phase is exactly 0: it was masked, or the file "
        "is damaged",
    ),
    "slice_missing": _Remark(
        None, "error", "a slice between others is empty: copy or convert the scan again"
    ),
    "slice_repeated": _Remark(
        None,
        "error",
        "a slice of an echo is an exact copy of the one before it: copy or convert the scan again",
    ),
    "b0_dir_ignored": _Remark(
        None,
        "warning",
        "the sidecars' B0_dir is not the direction of B0 that the affine says, and was ignored "
        "(--b0-direction)",
    ),
    "echo_spacing_short": _Remark(
        None,
        "error",
        "echoes follow each other within half a millisecond, faster than scanners read them out: "
        "check EchoTime (in seconds)",
    ),
    "echo_missing": _Remark(
        None, "warning", "one echo spacing is a multiple of the others: is an echo missing?"
    ),
    "echo_spacing_uneven": _Remark(None, "info", "echoes are not evenly spaced"),
    "slice_polarity_repaired": _Remark(
        "phase_scaling", "warning", "the phase flipped from slice to slice and was turned"
    ),
    "voxels_not_finite": _Remark(
        "phase_scaling", "warning", "voxels without a finite value were excluded from the mask"
    ),
    "phase_not_finite": _Remark(
        "phase_scaling", "warning", "the phase holds values that are not finite"
    ),
    "phase_range_not_filled": _Remark(
        "phase_scaling", "warning", "the phase does not fill its manufacturer's range"
    ),
    "phase_scale_from_wraps": _Remark(
        "phase_scaling", "warning", "the scale of the phase was found from its wraps"
    ),
    "phase_beyond_one_turn": _Remark(
        "phase_scaling", "info", "the phase exceeds one turn and was wrapped"
    ),
    "preliminary_weights": _Remark(
        "inversion",
        "warning",
        "made with preliminary network weights: not for scientific conclusions",
    ),
    "other_grid_for_weights": _Remark(
        "inversion",
        "info",
        "the network ran at the voxel size and orientation of its training, and the map was "
        "resampled back",
    ),
    "regions_not_labelled": _Remark(
        "segmentation",
        "info",
        "no regional statistics: SynthSeg's weights were not found (--synthseg-weights), and no "
        "segmentation was given (--derivatives)",
    ),
    "segmentation_failed": _Remark(
        "segmentation",
        "error",
        "the regions could not be labelled (see segmentation error): there are no regional values",
    ),
    "small_segmentation": _Remark(
        "segmentation",
        "warning",
        "regions were labelled by the small preliminary network of this package: look at them, and "
        "do not publish regional values; SynthSeg's weights (--synthseg-weights) are better",
    ),
    "unofficial_synthseg": _Remark(
        "segmentation",
        "warning",
        "the weights of SynthSeg are not a file that its authors distribute",
    ),
    "unofficial_synthstrip": _Remark(
        "mask",
        "warning",
        "the weights of SynthStrip are not the file that FreeSurfer distributes: look at the mask",
    ),
    "template_unavailable": _Remark(
        "template",
        "warning",
        "a template of --output-spaces could not be had when the run started: there are no maps in "
        "its space",
    ),
    "template_registration_failed": _Remark(
        "template",
        "error",
        "the registration to a template failed (see template error): there are no maps in its "
        "space",
    ),
}


def processing_flags(names: Iterable[str]) -> list[Flag]:
    """Remarks on what processing met; a name that is not known is told as it is."""
    remarks = ((name, _PROCESSING.get(name, _Remark(None, "warning", name))) for name in names)
    return [Flag(name, remark.severity, remark.message) for name, remark in remarks]


def flags_of_steps(names: Iterable[str], steps: Collection[str]) -> list[str]:
    """Names of what processing met that concern the results of these steps.

    Examples
    --------
    >>> flags_of_steps(["echo_missing", "preliminary_weights"], ["relaxation"])
    ['echo_missing']
    """
    concerned = {None, *steps}
    return [n for n in names if n not in _PROCESSING or _PROCESSING[n].step in concerned]
