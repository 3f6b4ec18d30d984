import numpy as np
import pytest

from isdu_bids.errors import DataError
from isdu_bids.phase.fitting import noise_sd
from isdu_bids.phase.registry import COMBINATION


def noisy(scan, noise, seed=0):
    """Unwrapped phases with the noise that the magnitude implies."""
    generator = np.random.default_rng(seed)
    spread = noise / np.where(scan.mask, scan.magnitude, 1)
    return (scan.true_rad + spread * generator.standard_normal(scan.true_rad.shape)).astype("f4")


@pytest.mark.parametrize("name", COMBINATION)
def test_exact_phases_give_the_exact_field(scan, name):
    fit = COMBINATION[name](scan.true_rad, scan.magnitude, scan.echo_times_s, scan.mask)
    np.testing.assert_allclose(fit.field_hz[scan.mask], scan.field_hz[scan.mask], atol=0.05)
    assert fit.residual_rad.max() < 1e-3
    assert not fit.field_hz[~scan.mask].any()


@pytest.mark.parametrize("name", COMBINATION)
def test_standard_deviation_is_that_of_repeated_scans(scan, name):
    arguments = (scan.magnitude, scan.echo_times_s, scan.mask)
    fits = [COMBINATION[name](noisy(scan, 0.02, seed), *arguments) for seed in range(12)]
    errors = np.stack([fit.field_hz - scan.field_hz for fit in fits])[:, scan.mask]
    claimed = np.median(fits[0].field_sd_hz[scan.mask])
    # Voxels that happen to lie far off claim more than the propagated noise, so the median is up.
    assert 0.9 < claimed / np.sqrt(np.mean(errors**2)) < 1.5


@pytest.mark.parametrize("name", ["linear", "nonlinear"])
def test_fits_with_offset_ignore_a_constant_phase(scan, name):
    fits = [
        COMBINATION[name](scan.true_rad + shift, scan.magnitude, scan.echo_times_s, scan.mask)
        for shift in (np.float32(0), np.float32(0.7))
    ]
    np.testing.assert_allclose(fits[0].field_hz, fits[1].field_hz, atol=0.1)


def test_nonlinear_fit_shrugs_off_a_wrong_turn(scan):
    wrong = noisy(scan, 0.005)
    wrong[3] += np.float32(2 * np.pi) * (np.arange(40) % 2)[:, None, None]
    fit = COMBINATION["nonlinear"](wrong, scan.magnitude, scan.echo_times_s, scan.mask)
    error = np.abs(fit.field_hz - scan.field_hz)[scan.mask]
    line = COMBINATION["linear"](wrong, scan.magnitude, scan.echo_times_s, scan.mask)
    assert np.percentile(np.abs(line.field_hz - scan.field_hz)[scan.mask], 90) > 10
    assert np.percentile(error, 90) < 2


def test_disagreeing_echoes_raise_the_standard_deviation(scan):
    phases = noisy(scan, 0.005)
    phases[2, 20, 20, 20] += 2
    fit = COMBINATION["phase_snr"](phases, scan.magnitude, scan.echo_times_s, scan.mask)
    assert fit.field_sd_hz[20, 20, 20] > 10 * np.median(fit.field_sd_hz[scan.mask])
    assert fit.residual_rad[20, 20, 20] > 0.5


def test_a_voxel_without_signal_is_never_certain(scan):
    magnitude = scan.magnitude.copy()
    magnitude[:, 20, 20, 20] = 0
    fit = COMBINATION["phase_snr"](scan.true_rad, magnitude, scan.echo_times_s, scan.mask)
    assert fit.field_sd_hz[20, 20, 20] == pytest.approx(1 / (2 * np.sqrt(3) * 0.004), rel=1e-3)


def test_single_echo_noise_is_read_from_the_texture(scan):
    # A smooth object in white noise of 0.05 per channel.
    generator = np.random.default_rng(1)
    noise = 0.05 * (generator.standard_normal(scan.mask.shape) + 0j)
    noise += 0.05j * generator.standard_normal(scan.mask.shape)
    signal = np.exp(1j * scan.true_rad[0] / 4) + noise
    assert noise_sd(signal, scan.mask) == pytest.approx(0.05, rel=0.1)


def test_two_parameters_need_two_echoes(scan):
    with pytest.raises(DataError, match="needs 2 echoes"):
        COMBINATION["linear"](
            scan.true_rad[:1], scan.magnitude[:1], scan.echo_times_s[:1], scan.mask
        )
