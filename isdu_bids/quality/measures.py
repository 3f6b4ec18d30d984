"""Numbers that tell whether a scan's map can be believed, each with what makes it remarkable.

A new measure is a row of `MEASURES`: its name with its unit, how it is taken, and its checks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isnan
from typing import Any

import numpy as np
from scipy import ndimage

from isdu_bids.geometry import obliquity_deg
from isdu_bids.phase.ghosts import ghost_fraction
from isdu_bids.quality.flags import Flag, Severity, worst_first
from isdu_bids.quality.maps import ScanMaps, mean, percentile, sd
from isdu_bids.quality.residual import dipole_residual_percent
from isdu_bids.quality.rim import rim_deviation
from isdu_bids.quality.signal import chi_of_fastest_decay_ppm, snr
from isdu_bids.quality.spectrum import streak_index

Measures = dict[str, float]

#: Where ROMEO's quality says that neighbouring voxels no longer agree.
LOW_QUALITY = 0.5
#: No tissue of a brain at rest reaches it; air, bone and streaks do.
EXTREME_CHI_PPM = 1.0
#: Below this part of the brain's median magnitude a voxel is air, bone or a dead signal.
DARK = 0.15


@dataclass(frozen=True)
class Check:
    """When a measure is remarkable, and what a reader must be told: formatted with the value."""

    flag: str
    severity: Severity
    fires: Callable[[float], bool]
    message: str


@dataclass(frozen=True)
class Measure:
    """A number per scan; NaN where it cannot be taken, for instance in an empty mask."""

    name: str
    of: Callable[[ScanMaps], float]
    checks: tuple[Check, ...] = ()


def _chi_of_fastest_decay_ppm(scan: ScanMaps) -> float:
    first, last = scan.magnitude[0][scan.eroded], scan.magnitude[-1][scan.eroded]
    return chi_of_fastest_decay_ppm(scan.chi, first, last)


def _dipole_residual_percent(scan: ScanMaps) -> float:
    maps = scan.chi_ppm, scan.local_field_ppm, scan.eroded
    return dipole_residual_percent(*maps, scan.voxel_size_mm, scan.b0_direction)


def _streak_index(scan: ScanMaps) -> float:
    return streak_index(scan.chi_ppm, scan.eroded, scan.voxel_size_mm, scan.b0_direction)


def _rim_field_ppm(scan: ScanMaps) -> float:
    return rim_deviation(scan.local_field_ppm, scan.eroded, scan.voxel_size_mm)


def _rim_chi_ppm(scan: ScanMaps) -> float:
    return rim_deviation(scan.chi_ppm, scan.eroded, scan.voxel_size_mm)


def _field_noise_fraction(scan: ScanMaps) -> float:
    if scan.field_sd_ppm is None:
        return float("nan")
    return percentile(scan.field_sd_ppm[scan.eroded], 50) / sd(scan.local_field_ppm[scan.eroded])


def _mask_shift_mm(scan: ScanMaps) -> float:
    """How far the middle of the brain mask is from that of the head, towards one side."""
    first = scan.magnitude[0]
    head = first > 0.5 * percentile(first[scan.brain], 50)
    if not (scan.brain.any() and head.any()):
        return float("nan")
    middles = [np.argwhere(part).mean(axis=0) for part in (scan.brain, head)]
    towards_right = scan.affine[0, :3]
    return float(abs(towards_right @ (middles[0] - middles[1])))


def _largest_hole_ml(scan: ScanMaps) -> float:
    holes, count = ndimage.label(ndimage.binary_fill_holes(scan.eroded) & ~scan.eroded)
    return float(np.bincount(holes.ravel())[1:].max()) * scan.voxel_ml if count else 0.0


def _dark_fraction(scan: ScanMaps) -> float:
    first = scan.magnitude[0][scan.brain]
    return mean(first < DARK * percentile(first, 50))


def _chi_percentile(percent: int) -> Measure:
    return Measure(f"chi_p{percent:02d}_ppm", lambda scan: percentile(scan.chi, percent))


#: ``chi_*`` and ``local_field_*`` are taken in the eroded mask, the others in the brain mask.
MEASURES = (
    # 600 ml is a baby's brain at six months; the largest adult brains stay below 2000 ml.
    Measure("brain_volume_ml", lambda scan: float(scan.brain.sum()) * scan.voxel_ml, (
        Check("mask_too_small", "warning", lambda v: v < 600,
              "the brain mask holds {:.0f} ml, little for a brain: part of it is cut off or not "
              "scanned"),
        Check("mask_too_large", "warning", lambda v: v > 2000,
              "the brain mask holds {:.0f} ml, more than a brain: it takes in skull, skin or air"),
    )),
    # Sound scans give up to 3 mm.
    Measure("mask_shift_mm", _mask_shift_mm, (
        Check("mask_one_sided", "warning", lambda v: v > 15,
              "the middle of the brain mask is {:.0f} mm to the side of the head's: the mask lacks "
              "part of one hemisphere, and the field of what it lacks is in the map"),
    )),
    # Nothing means anything without a map. Two to three voxels of erosion leave 70 to 85 % of an
    # adult brain.
    Measure("eroded_coverage_fraction", lambda scan: mean(scan.eroded[scan.brain]), (
        Check("no_map", "error", lambda v: v == 0,
              "the eroded mask is empty: there is no map; give a larger mask or a smaller erosion"),
        Check("much_eroded", "warning", lambda v: 0 < v < 0.6,
              "the map covers only {:.0%} of the brain mask; cortex is missing"),
    )),
    Measure("n_echoes", lambda scan: float(len(scan.echo_times_s))),
    Measure("first_echo_time_ms", lambda scan: 1e3 * scan.echo_times_s[0]),
    Measure("last_echo_time_ms", lambda scan: 1e3 * scan.echo_times_s[-1]),
    Measure("voxel_volume_mm3", lambda scan: 1e3 * scan.voxel_ml),
    # The dipole is undersampled along thick slices.
    Measure("voxel_anisotropy", lambda scan: max(scan.voxel_size_mm) / min(scan.voxel_size_mm), (
        Check("anisotropic", "info", lambda v: v > 3,
              "voxels are {:.1f} times longer than wide; susceptibility is underestimated"),
    )),
    Measure("obliquity_deg", lambda scan: obliquity_deg(scan.b0_direction)),
    Measure("chi_mean_ppm", lambda scan: mean(scan.chi)),
    # Healthy brains have a standard deviation of 0.02 to 0.06 ppm.
    Measure("chi_sd_ppm", lambda scan: sd(scan.chi), (
        Check("flat_map", "warning", lambda v: v < 0.005,
              "the map is almost flat (standard deviation {:.4f} ppm): check units and "
              "regularisation"),
        Check("wild_map", "warning", lambda v: v > 0.15,
              "the map varies by {:.2f} ppm (standard deviation), several times a brain's: noise, "
              "wraps, or parts per billion"),
    )),
    *(_chi_percentile(percent) for percent in (1, 5, 50, 95, 99)),
    # No tissue reaches 1 ppm; half a percent is a vein's worth of mistakes.
    Measure("chi_extreme_fraction", lambda scan: mean(np.abs(scan.chi) > EXTREME_CHI_PPM), (
        Check("extreme_values", "warning", lambda v: v > 0.005,
              "{:.1%} of the map is beyond ±1 ppm: wraps, air or streaks"),
    )),
    # Any NaN comes from broken input or arithmetic, never from tissue.
    Measure("chi_nonfinite_fraction", lambda scan: mean(~np.isfinite(scan.chi)), (
        Check("not_finite", "error", lambda v: v > 0, "{:.2%} of the map is not a number"),
    )),
    # Iron and veins decay fast and are paramagnetic; 0.01 ppm is what noise alone can do.
    Measure("chi_of_fastest_decay_ppm", _chi_of_fastest_decay_ppm, (
        Check("flipped_sign", "warning", lambda v: v < -0.01,
              "where the signal decays fastest the map lies {:+.3f} ppm from its median, but iron "
              "and veins are paramagnetic: the phase may have the opposite sign (GE scanners do "
              "that)"),
    )),
    # Shimmed heads have 0.1 to 0.2 ppm at any field strength; the usual mistakes are tenfold.
    Measure("total_field_sd_ppm", lambda scan: sd(scan.total_field_ppm[scan.brain]), (
        Check("field_too_strong", "error", lambda v: v > 0.6,
              "the total field varies by {:.2f} ppm (standard deviation), several times more than "
              "in a head: check EchoTime (seconds) and MagneticFieldStrength (tesla)"),
        Check("field_too_weak", "error", lambda v: v < 0.03,
              "the total field varies by {:.3f} ppm (standard deviation), several times less than "
              "in a head: check EchoTime (seconds) and MagneticFieldStrength (tesla)"),
    )),
    Measure("local_field_sd_ppm", lambda scan: sd(scan.local_field_ppm[scan.eroded])),
    # Sound scans give 0.08 to 0.3.
    Measure("field_noise_fraction", _field_noise_fraction, (
        Check("noisy_field", "warning", lambda v: v > 0.5,
              "the noise of the field is {:.0%} of the local field's own spread: the map shows "
              "noise as much as tissue"),
    )),
    # One wrap at 3 T and 20 ms is 0.4 ppm; tissue stays below 0.1 ppm.
    Measure("local_field_p99_ppm",
            lambda scan: percentile(np.abs(scan.local_field_ppm[scan.eroded]), 99), (
        Check("implausible_local_field", "warning", lambda v: v > 0.2,
              "1 % of the local field exceeds {:.2f} ppm: wraps or background field are left"),
    )),
    # Two simulated scans and the demonstration give 0.006 to 0.011, with 5 % of the background left
    # in the field 0.025 to 0.042, with 2 % 0.011 to 0.018; a scan with sinuses in its mask 0.024.
    Measure("rim_field_ppm", _rim_field_ppm, (
        Check("background_at_rim", "warning", lambda v: v > 0.018,
              "the local field strays by {:.3f} ppm at the rim of the map: background field is "
              "left or veins lie in the mask; do not read tissue next to bright or dark bands"),
    )),
    # The same scans give 0.016 to 0.032, 0.036 to 0.068 with 5 % of the background, and 0.064.
    Measure("rim_chi_ppm", _rim_chi_ppm, (
        Check("bright_rim", "warning", lambda v: v > 0.045,
              "bands of {:.3f} ppm lie at the rim of the map: venous sinuses inside the mask, or "
              "background field that was not removed"),
    )),
    # A residual of 100 % is what an all-zero map leaves; beyond it the map makes things worse,
    # which takes a wrong sign, B0 direction or voxel size. Thresholded division on noisy 3 T data
    # leaves 35 to 50 %.
    Measure("dipole_residual_percent", _dipole_residual_percent, (
        Check("map_contradicts_field", "error", lambda v: v > 100,
              "the field of the map differs from the local field by {:.0f} % of it, more than no "
              "map at all: check the sign of the phase, the affine and the B0 direction"),
        Check("large_residual", "warning", lambda v: 80 < v <= 100,
              "{:.0f} % of the local field is not explained by the map"),
    )),
    # Simulated truths give 0.95 to 1.0, division by 0.02 gives 3 to 6.
    Measure("streak_index", _streak_index, (
        Check("streaks", "warning", lambda v: v > 2,
              "the map has {:.1f} times the expected power near the dipole's zero cone: streaks"),
    )),
    # Below one half ROMEO's quality says that neighbours or echoes do not agree.
    Measure("low_quality_fraction", lambda scan: mean(scan.quality[scan.brain] < LOW_QUALITY), (
        Check("poor_phase", "warning", lambda v: v > 0.2,
              "the phase is unreliable in {:.0%} of the brain mask: noise, motion or wrong echo "
              "times"),
    )),
    # Air gives phase noise, which background removal spreads into the brain.
    Measure("dark_fraction", _dark_fraction, (
        Check("air_in_mask", "warning", lambda v: v > 0.05,
              "{:.0%} of the brain mask has next to no signal: air or bone"),
    )),
    # Sound scans leave holes of up to 0.15 ml; a sphere of 0.5 ml is 1 cm wide.
    Measure("largest_hole_ml", _largest_hole_ml, (
        Check("hole_in_map", "warning", lambda v: v > 0.5,
              "{:.1f} ml inside the brain have no value, as their phase cannot be trusted: a bleed "
              "or a calcification, air, or a fault of the scan; regions around are cut"),
    )),
    # Sound scans give less than 0.01.
    Measure("ghost_fraction", lambda scan: ghost_fraction(scan.magnitude[0], scan.brain), (
        Check("ghost", "warning", lambda v: v > 0.05,
              "a copy of the brain with {:.0%} of its signal lies half a field of view away: "
              "motion or a fault of the scanner; its phase is mixed into the map"),
    )),
    # Phase noise is 1/SNR rad; at 10 a first echo of 5 ms is off by 6 Hz, as large as tissue.
    Measure("snr_echo1", lambda scan: snr(scan.magnitude[0], scan.eroded), (
        Check("noisy", "warning", lambda v: v < 10,
              "the first echo has a signal-to-noise ratio of only {:.1f}"),
    )),
)  # fmt: skip


def measure_scan(scan: ScanMaps) -> Measures:
    """Take every measure of `MEASURES`, and the signal-to-noise ratio of the other echoes."""
    measures = {measure.name: measure.of(scan) for measure in MEASURES}
    for echo, volume in enumerate(scan.magnitude[1:], start=2):
        measures[f"snr_echo{echo}"] = snr(volume, scan.eroded)
    return measures


def flag_scan(measures: Mapping[str, Any]) -> list[Flag]:
    """Remarks on a scan from its measures, worst first; an empty list is good news.

    Measures that are missing or NaN raise no alarm of their own, but are named in one remark.
    """
    flags = []
    unknown = []
    for measure in (measure for measure in MEASURES if measure.checks):
        value = measures.get(measure.name)
        if value is None or isnan(value):
            unknown.append(measure.name)
            continue
        fired = (check for check in measure.checks if check.fires(value))
        flags += [Flag(check.flag, check.severity, check.message.format(value)) for check in fired]
    if unknown:
        message = f"could not be measured: {', '.join(unknown)}"
        flags.append(Flag("not_measured", "warning", message))
    return worst_first(flags)
