import numpy as np
import pytest
import torch
from faults import fault
from scipy.ndimage import gaussian_filter

from isdu_bids.physics.dipole import convolve, dipole_kernel, forward_field
from isdu_bids.quality.maps import ScanMaps
from isdu_bids.quality.measures import flag_scan, measure_scan
from isdu_bids.quality.residual import dipole_residual_percent
from isdu_bids.quality.signal import snr
from isdu_bids.quality.spectrum import streak_index

SIZE = (1.0, 1.0, 1.5)
B0 = (0.0, 0.6, 0.8)


def ball(shape=(40, 44, 36), radius=14):
    grid = np.stack(np.indices(shape), -1) - (np.array(shape) - 1) / 2
    return np.linalg.norm(grid * SIZE, axis=-1) < radius


def blobs(mask, seed=0):
    """Isotropic texture in ppm: no direction is special."""
    noise = np.random.default_rng(seed).normal(0, 0.5, mask.shape)
    return (gaussian_filter(noise, 1 / np.array(SIZE)) * mask).astype(np.float32)


@pytest.fixture
def scan():
    brain = ball()
    chi = blobs(brain)
    field = forward_field(torch.from_numpy(chi), SIZE, B0).numpy()
    rng = np.random.default_rng(1)
    # iron: decay grows with susceptibility
    echo_times_s = (0.005, 0.015, 0.025)
    r2star = 20 + 200 * np.clip(chi, -0.05, None)
    magnitude = [
        100 * np.exp(-te * r2star) + rng.normal(0, 0.5, brain.shape) for te in echo_times_s
    ]
    return {
        "chi_ppm": chi,
        "brain_mask": brain,
        "eroded_mask": brain,
        "local_field_ppm": field,
        "total_field_ppm": field + 0.3,
        "field_sd_ppm": np.full_like(field, 0.2 * field[brain].std()),
        "quality": brain * 0.9,
        "magnitude": np.array(magnitude) * brain,
        "echo_times_s": echo_times_s,
        "affine": np.diag([*SIZE, 1.0]),
        "field_strength_t": 3.0,
        "b0_direction": B0,
    }


def measured(scan):
    return measure_scan(ScanMaps(**scan))


def test_known_values(scan):
    measures = measured(scan)
    brain = scan["brain_mask"]
    assert measures["brain_volume_ml"] == pytest.approx(brain.sum() * 1.5e-3)
    assert measures["eroded_coverage_fraction"] == 1
    assert measures["chi_sd_ppm"] == pytest.approx(scan["chi_ppm"][brain].std(), rel=1e-5)
    assert measures["obliquity_deg"] == pytest.approx(np.degrees(np.arccos(0.8)))
    assert measures["voxel_anisotropy"] == 1.5
    assert measures["n_echoes"] == 3
    assert measures["low_quality_fraction"] == 0
    assert measures["chi_of_fastest_decay_ppm"] > 0.03


def test_all_values_are_plain_numbers(scan):
    assert {type(value) for value in measured(scan).values()} == {float}


def test_quality_is_counted_below_the_threshold(scan):
    quality = np.where(np.arange(40)[:, None, None] < 20, 0.1, 0.9) * scan["brain_mask"]
    assert measured({**scan, "quality": quality})["low_quality_fraction"] == pytest.approx(0.5)


def test_air_in_the_mask_is_dark(scan):
    magnitude = scan["magnitude"].copy()
    magnitude[:, :, :, :18] *= 0.01
    assert measured({**scan, "magnitude": magnitude})["dark_fraction"] == pytest.approx(0.5)


@fault("a bleed without signal, so that the map has a hole", "flagged", 0)
def test_a_hole_inside_the_map_is_measured(scan):
    assert measured(scan)["largest_hole_ml"] == 0
    eroded = scan["eroded_mask"].copy()
    middle = np.argwhere(eroded).mean(axis=0).astype(int)
    eroded[tuple(slice(m - 2, m + 3) for m in middle)] = 0
    found = measured({**scan, "eroded_mask": eroded})
    assert found["largest_hole_ml"] == pytest.approx(125 * np.prod(SIZE) / 1000)


@fault("a mask of one hemisphere", "flagged", 0)
@pytest.mark.parametrize("axis", [0, 1])
def test_a_mask_off_the_middle_is_measured(scan, axis):
    """Half a ball has its centroid at 3/8 of the radius; only left and right count."""
    half = scan["brain_mask"].copy()
    np.moveaxis(half, axis, 0)[: half.shape[axis] // 2] = False
    for side_axis in (0, 1):
        affine = np.diag([*SIZE, 1.0])[[side_axis, 1 - side_axis, 2, 3]]
        assert measured({**scan, "affine": affine})["mask_shift_mm"] == pytest.approx(0, abs=0.5)
        found = measured({**scan, "brain_mask": half, "affine": affine})["mask_shift_mm"]
        assert found == pytest.approx(3 / 8 * 14 if side_axis == axis else 0, abs=0.5)


def test_noise_is_measured_by_the_spread_of_the_local_field(scan):
    assert measured(scan)["field_noise_fraction"] == pytest.approx(0.2, rel=1e-5)
    noisy = measured(scan | {"field_sd_ppm": 4 * scan["field_sd_ppm"]})
    assert "noisy_field" in {flag.name for flag in flag_scan(noisy)}


def test_snr_of_known_noise():
    mask = ball()
    ramp = np.linspace(80, 120, mask.shape[0])[:, None, None]  # cancels: it is no noise
    noise = np.random.default_rng(0).normal(0, 2.5, mask.shape)
    assert snr(ramp + noise, mask) == pytest.approx(100 / 2.5, rel=0.05)


def test_residual_vanishes_for_the_exact_map():
    mask = ball()
    chi = blobs(mask)
    field = forward_field(torch.from_numpy(chi), SIZE, B0).numpy()
    assert dipole_residual_percent(chi, field, mask, SIZE, B0) < 1  # per cent: the grid is cropped


def test_residual_knows_neither_reference_nor_field_offset():
    mask = ball()
    chi = blobs(mask)
    noise = np.random.default_rng(2).normal(0, 0.01, mask.shape).astype(np.float32)
    field = forward_field(torch.from_numpy(chi), SIZE, B0).numpy() + noise
    expected = dipole_residual_percent(chi, field, mask, SIZE, B0)
    assert 20 < expected < 80
    shifted = dipole_residual_percent(chi + np.float32(0.2), field - 3, mask, SIZE, B0)
    assert shifted == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("factor", "direction", "low", "high"),
    [(0, B0, 99, 101), (-1, B0, 190, 201), (1, (0.0, 0.8, -0.6), 100, 300)],
    ids=["no map", "flipped sign", "wrong direction"],
)
def test_residual_of_wrong_maps(factor, direction, low, high):
    mask = ball()
    chi = blobs(mask)
    field = forward_field(torch.from_numpy(chi), SIZE, B0).numpy()
    residual = dipole_residual_percent(factor * chi, field, mask, SIZE, direction)
    assert low <= residual <= high


def test_streak_index_is_one_without_preference_and_rises_with_streaks():
    mask = ball()
    chi = blobs(mask)
    field = forward_field(torch.from_numpy(chi), SIZE, B0).numpy() * mask
    noisy = torch.from_numpy((field + blobs(mask, 1) / 10).astype(np.float32))
    kernel = dipole_kernel(mask.shape, SIZE, B0)
    inverse = torch.where(kernel.abs() > 0.02, 1 / kernel, kernel.sign() / 0.02)
    streaky = convolve(noisy, inverse).numpy()
    assert streak_index(chi, mask, SIZE, B0) == pytest.approx(1, abs=0.15)
    assert streak_index(streaky, mask, SIZE, B0) > 2
    assert streak_index(chi * 7 + 3, mask, SIZE, B0) == pytest.approx(
        streak_index(chi, mask, SIZE, B0), rel=1e-3
    )


def test_empty_masks_give_nan_and_no_exception(scan):
    empty = np.zeros_like(scan["brain_mask"])
    measures = measured({**scan, "brain_mask": empty, "eroded_mask": empty})
    assert measures["brain_volume_ml"] == 0
    assert np.isnan(measures["chi_sd_ppm"])
    assert np.isnan(measures["dipole_residual_percent"])
    assert "mask_too_small" in {flag.name for flag in flag_scan(measures)}


def test_nan_in_the_map_is_counted_and_flagged(scan):
    chi = scan["chi_ppm"].copy()
    chi[20, 22, 18] = np.nan
    measures = measured({**scan, "chi_ppm": chi})
    assert measures["chi_nonfinite_fraction"] == pytest.approx(1 / scan["brain_mask"].sum())
    assert np.isfinite(measures["chi_sd_ppm"])
    assert "not_finite" in {flag.name for flag in flag_scan(measures)}


def test_a_flipped_sign_is_found(scan):
    flipped = {name: -scan[name] for name in ("chi_ppm", "local_field_ppm", "total_field_ppm")}
    names = {flag.name for flag in flag_scan(measured({**scan, **flipped}))}
    assert "flipped_sign" in names
    assert "flipped_sign" not in {flag.name for flag in flag_scan(measured(scan))}
