"""What a reader must be told before looking at a map: thresholds, each with its reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import isnan
from typing import Any, Literal, NamedTuple

Severity = Literal["error", "warning", "info"]


class Flag(NamedTuple):
    """One remark on a scan, worst severity first in a report."""

    name: str
    severity: Severity
    message: str


class _Check(NamedTuple):
    name: str
    severity: Severity
    measure: str
    fires: Callable[[float], bool]
    message: str  # formatted with the value


_CHECKS = (
    # Nothing below means anything without a map.
    _Check(
        "no_map", "error", "eroded_coverage_fraction", lambda v: v == 0,
        "the eroded mask is empty: there is no map; give a larger mask or a smaller erosion",
    ),
    # Any NaN comes from broken input or arithmetic, never from tissue.
    _Check(
        "not_finite", "error", "chi_nonfinite_fraction", lambda v: v > 0,
        "{:.2%} of the map is not a number",
    ),
    # A residual of 100 % is what an all-zero map leaves; beyond it the map makes things worse,
    # which takes a wrong sign, B0 direction or voxel size.
    _Check(
        "map_contradicts_field", "error", "dipole_residual_percent", lambda v: v > 100,
        "the field of the map differs from the local field by {:.0f} % of it, more than no map at "
        "all: check the sign of the phase, the affine and the B0 direction",
    ),
    # Thresholded division on noisy 3 T data leaves 35 to 50 %.
    _Check(
        "large_residual", "warning", "dipole_residual_percent", lambda v: 80 < v <= 100,
        "{:.0f} % of the local field is not explained by the map",
    ),
    # Iron and veins decay fast and are paramagnetic; 0.01 ppm is what noise alone can do.
    _Check(
        "flipped_sign", "warning", "chi_of_fastest_decay_ppm", lambda v: v < -0.01,
        "where the signal decays fastest the map lies {:+.3f} ppm from its median, but iron and "
        "veins are paramagnetic: the phase may have the opposite sign (GE scanners do that)",
    ),
    # 600 ml is a baby's brain at six months; the largest adult brains stay below 2000 ml.
    _Check(
        "mask_too_small", "warning", "brain_volume_ml", lambda v: v < 600,
        "the brain mask holds {:.0f} ml, little for a brain: part of it is cut off or not scanned",
    ),
    _Check(
        "mask_too_large", "warning", "brain_volume_ml", lambda v: v > 2000,
        "the brain mask holds {:.0f} ml, more than a brain: it takes in skull, skin or air",
    ),
    # Two to three voxels of erosion leave 70 to 85 % of an adult brain.
    _Check(
        "much_eroded", "warning", "eroded_coverage_fraction", lambda v: 0 < v < 0.6,
        "the map covers only {:.0%} of the brain mask; cortex is missing",
    ),
    # Air gives phase noise, which background removal spreads into the brain.
    _Check(
        "air_in_mask", "warning", "dark_fraction", lambda v: v > 0.05,
        "{:.0%} of the brain mask has next to no signal: air or bone",
    ),
    # Below one half ROMEO's quality says that neighbours or echoes do not agree.
    _Check(
        "poor_phase", "warning", "low_quality_fraction", lambda v: v > 0.2,
        "the phase is unreliable in {:.0%} of the brain mask: noise, motion or wrong echo times",
    ),
    # Phase noise is 1/SNR rad; at 10 a first echo of 5 ms is off by 6 Hz, as large as tissue.
    _Check(
        "noisy", "warning", "snr_echo1", lambda v: v < 10,
        "the first echo has a signal-to-noise ratio of only {:.1f}",
    ),
    # One wrap at 3 T and 20 ms is 0.4 ppm; tissue stays below 0.1 ppm.
    _Check(
        "implausible_local_field", "warning", "local_field_p99_ppm", lambda v: v > 0.2,
        "1 % of the local field exceeds {:.2f} ppm: wraps or background field are left",
    ),
    # No tissue reaches 1 ppm; half a percent is a vein's worth of mistakes.
    _Check(
        "extreme_values", "warning", "chi_extreme_fraction", lambda v: v > 0.005,
        "{:.1%} of the map is beyond ±1 ppm: wraps, air or streaks",
    ),
    # Healthy brains have a standard deviation of 0.02 to 0.06 ppm.
    _Check(
        "flat_map", "warning", "chi_sd_ppm", lambda v: v < 0.005,
        "the map is almost flat (standard deviation {:.4f} ppm): check units and regularisation",
    ),
    _Check(
        "wild_map", "warning", "chi_sd_ppm", lambda v: v > 0.15,
        "the map varies by {:.2f} ppm (standard deviation), several times a brain's: noise, wraps, "
        "or parts per billion",
    ),
    # Simulated truths give 0.95 to 1.0, division by 0.02 gives 3 to 6.
    _Check(
        "streaks", "warning", "streak_index", lambda v: v > 2,
        "the map has {:.1f} times the expected power near the dipole's zero cone: streaks",
    ),
    # The consensus asks for several echoes: without them the coil phase cannot be told from field.
    _Check(
        "single_echo", "info", "n_echoes", lambda v: v == 1,
        "a single echo: the phase offset of the coils is part of the field",
    ),
    # The dipole is undersampled along thick slices.
    _Check(
        "anisotropic", "info", "voxel_anisotropy", lambda v: v > 3,
        "voxels are {:.1f} times longer than wide; susceptibility is underestimated",
    ),
)  # fmt: skip


def flag_scan(measures: Mapping[str, Any]) -> list[Flag]:
    """Remarks on a scan from its measures, worst first; an empty list is good news.

    Measures that are missing or NaN raise no alarm of their own, but are named in one remark.
    """
    flags = []
    unknown = []
    for check in _CHECKS:
        value = measures.get(check.measure)
        if value is None or isnan(value):
            unknown.append(check.measure)
        elif check.fires(value):
            flags.append(Flag(check.name, check.severity, check.message.format(value)))
    if unknown:
        names = ", ".join(dict.fromkeys(unknown))
        flags.append(Flag("not_measured", "warning", f"could not be measured: {names}"))
    order = ("error", "warning", "info")
    return sorted(flags, key=lambda flag: order.index(flag.severity))


#: Names that processing steps give to what they met, as a reader must understand them.
_PROCESSING: dict[str, tuple[Severity, str]] = {
    "sign_right": ("info", "the sign of the phase agrees with the outline of the head"),
    "sign_unclear": ("warning", "the outline of the head does not tell the sign of the phase"),
    "sign_unchecked": ("warning", "the sign of the phase was not checked"),
    "sign_reversed": ("warning", "the sign of the phase contradicts the outline of the head"),
    "sign_turned": ("warning", "the sign of the phase was turned (--phase-sign)"),
    "single_echo": ("info", "a single echo: the phase offset of the coils is part of the field"),
    "echo_missing": (
        "warning",
        "one echo spacing is a multiple of the others: is an echo missing?",
    ),
    "echo_spacing_uneven": ("info", "echoes are not evenly spaced"),
    "slice_polarity_repaired": ("warning", "the phase flipped from slice to slice and was turned"),
    "voxels_not_finite": ("warning", "voxels without a finite value left the mask"),
    "phase_not_finite": ("warning", "the phase holds values that are not finite"),
    "phase_range_not_filled": ("warning", "the phase does not fill its manufacturer's range"),
    "phase_scale_from_wraps": ("warning", "the scale of the phase was found from its wraps"),
    "phase_beyond_one_turn": ("info", "the phase exceeds one turn and was wrapped"),
    "regions_not_labelled": (
        "info",
        "no regional statistics: SynthSeg's weights were not found (--synthseg-weights), and no "
        "segmentation was given (--derivatives)",
    ),
    "segmentation_failed": (
        "error",
        "the regions could not be labelled (see segmentation error): there are no regional values",
    ),
    "small_segmentation": (
        "warning",
        "regions were labelled by the small preliminary network of this package: look at them, and "
        "do not publish regional values; SynthSeg's weights (--synthseg-weights) are better",
    ),
    "unofficial_synthstrip": (
        "warning",
        "the weights of SynthStrip are not the file that FreeSurfer distributes: look at the mask",
    ),
    "unofficial_synthseg": (
        "warning",
        "the weights of SynthSeg are not a file that its authors distribute",
    ),
    "template_unavailable": (
        "warning",
        "a template of --output-spaces could not be had when the run started: there are no maps in "
        "its space",
    ),
    "template_registration_failed": (
        "error",
        "the registration to a template failed (see template error): there are no maps in its "
        "space",
    ),
    "other_grid_for_weights": (
        "info",
        "the network ran at the voxel size and orientation of its training and was resampled back",
    ),
}


def processing_flags(names: Iterable[str]) -> list[Flag]:
    """Remarks on what processing met; a name that is not known is told as it is."""
    return [Flag(name, *_PROCESSING.get(name, ("warning", name))) for name in names]
