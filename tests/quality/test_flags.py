import math

import pytest
from faults import fault

from isdu_bids.quality.flags import Flag, flags_of_steps, processing_flags, worst_first
from isdu_bids.quality.measures import MEASURES, flag_scan

HEALTHY = {
    "total_field_sd_ppm": 0.1,
    "rim_field_ppm": 0.008,
    "rim_chi_ppm": 0.02,
    "brain_volume_ml": 1400.0,
    "eroded_coverage_fraction": 0.8,
    "voxel_anisotropy": 1.0,
    "chi_sd_ppm": 0.03,
    "chi_extreme_fraction": 0.0,
    "chi_nonfinite_fraction": 0.0,
    "chi_of_fastest_decay_ppm": 0.04,
    "local_field_p99_ppm": 0.03,
    "dipole_residual_percent": 40.0,
    "streak_index": 0.8,
    "low_quality_fraction": 0.02,
    "dark_fraction": 0.0,
    "mask_shift_mm": 1.0,
    "largest_hole_ml": 0.1,
    "ghost_fraction": 0.003,
    "snr_echo1": 60.0,
    "field_noise_fraction": 0.2,
}


def test_a_good_scan_has_no_flag():
    assert flag_scan(HEALTHY) == []


@pytest.mark.parametrize(
    ("measure", "value", "name", "severity"),
    [
        ("eroded_coverage_fraction", 0.0, "no_map", "error"),
        ("eroded_coverage_fraction", 0.4, "much_eroded", "warning"),
        ("chi_nonfinite_fraction", 1e-6, "not_finite", "error"),
        ("dipole_residual_percent", 197.0, "map_contradicts_field", "error"),
        ("dipole_residual_percent", 90.0, "large_residual", "warning"),
        ("chi_of_fastest_decay_ppm", -0.03, "flipped_sign", "warning"),
        ("brain_volume_ml", 150.0, "mask_too_small", "warning"),
        ("brain_volume_ml", 3500.0, "mask_too_large", "warning"),
        ("dark_fraction", 0.2, "air_in_mask", "warning"),
        ("mask_shift_mm", 31.0, "mask_one_sided", "warning"),
        ("largest_hole_ml", 1.4, "hole_in_map", "warning"),
        ("ghost_fraction", 0.15, "ghost", "warning"),
        ("low_quality_fraction", 0.5, "poor_phase", "warning"),
        ("snr_echo1", 4.0, "noisy", "warning"),
        ("field_noise_fraction", 0.8, "noisy_field", "warning"),
        ("local_field_p99_ppm", 0.5, "implausible_local_field", "warning"),
        ("rim_field_ppm", 0.025, "background_at_rim", "warning"),
        ("rim_chi_ppm", 0.064, "bright_rim", "warning"),
        ("chi_extreme_fraction", 0.02, "extreme_values", "warning"),
        ("chi_sd_ppm", 0.001, "flat_map", "warning"),
        ("chi_sd_ppm", 30.0, "wild_map", "warning"),
        ("streak_index", 4.0, "streaks", "warning"),
        ("voxel_anisotropy", 5.0, "anisotropic", "info"),
        pytest.param(
            *("total_field_sd_ppm", 1.0, "field_too_strong", "error"),
            marks=fault("field strength 0.3 T instead of 3 T", "flagged as an error", 0),
        ),
        pytest.param(
            *("total_field_sd_ppm", 0.01, "field_too_weak", "error"),
            marks=fault("field strength 15 T instead of 1.5 T", "flagged as an error", 0),
        ),
        ("streak_index", math.nan, "not_measured", "warning"),
    ],
)
def test_one_wrong_measure_raises_its_own_flag_only(measure, value, name, severity):
    (flag,) = flag_scan({**HEALTHY, measure: value})
    assert (flag.name, flag.severity) == (name, severity)
    assert "{" not in flag.message


def test_a_new_check_is_tried_here():
    assert {measure.name for measure in MEASURES if measure.checks} == set(HEALTHY)


def test_what_processing_met_concerns_the_maps_of_its_steps():
    met = ["sign_turned", "preliminary_weights", "echo_missing", "something_new"]
    assert flags_of_steps(met, ("mask", "relaxation")) == ["echo_missing", "something_new"]
    assert flags_of_steps(met, ("phase_scaling", "inversion")) == met
    assert [flag.severity for flag in processing_flags(met)] == ["warning"] * 4
    assert processing_flags(met)[-1].message == "something_new"


def test_worst_comes_first():
    flags = flag_scan(
        {**HEALTHY, "voxel_anisotropy": 5.0, "snr_echo1": 1.0, "chi_nonfinite_fraction": 1.0}
    )
    assert [flag.severity for flag in flags] == ["error", "warning", "info"]


def test_preliminary_weights_come_before_all():
    flags = [Flag("no_map", "error", ""), Flag("preliminary_weights", "warning", "")]
    assert worst_first(flags) == flags[::-1]


def test_missing_measures_are_named():
    (flag,) = flag_scan(
        {k: v for k, v in HEALTHY.items() if k not in ("snr_echo1", "streak_index")}
    )
    assert flag.name == "not_measured"
    assert "snr_echo1" in flag.message
    assert "streak_index" in flag.message
