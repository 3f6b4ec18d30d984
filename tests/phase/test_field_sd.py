"""The stated standard deviation of the field is what repeated scans show."""

import numpy as np
import pytest

from isdu_bids.phase.field_sd import ERROR_PER_STEP, noise_sd
from isdu_bids.phase.registry import COMBINATION

TIMES_S = (0.004, 0.009, 0.014, 0.019)
SHAPE = (16, 16, 16)
MASK = np.ones(SHAPE, bool)
#: Signal of every echo, of very different strength on both sides.
MAGNITUDE = np.exp(-np.array(TIMES_S)[:, None, None, None] / 0.03) * np.linspace(0.3, 1, 16)
MAGNITUDE = np.broadcast_to(MAGNITUDE, (4, *SHAPE)).astype(np.float32)


def fit(name, noise, seed, field_hz=0.0):
    """Field from the phases of a noisy signal."""
    generator = np.random.default_rng(seed)
    real, imaginary = noise * generator.standard_normal((2, 4, *SHAPE))
    phase = 2 * np.pi * field_hz * np.array(TIMES_S)[:, None, None, None]
    noisy = phase + np.angle(MAGNITUDE + real + 1j * imaginary)
    return COMBINATION[name](noisy.astype(np.float32), MAGNITUDE, TIMES_S, MASK)


@pytest.mark.parametrize("name", COMBINATION)
def test_it_is_the_spread_over_repetitions(name):
    fits = [fit(name, 0.01, seed) for seed in range(30)]
    spread = np.sqrt(np.mean([f.field_hz**2 for f in fits], axis=0))
    stated = np.sqrt(np.mean([f.field_sd_hz**2 for f in fits], axis=0))
    # the same where the signal is weak and where it is strong
    for part in (np.s_[..., :4], np.s_[..., -4:]):
        ratio = np.sqrt(np.mean(spread[part] ** 2) / np.mean(stated[part] ** 2))
        assert ratio == pytest.approx(1, abs=0.06)


@pytest.mark.parametrize("name", ["phase_snr", "linear", "nonlinear"])
def test_it_grows_with_the_noise(name):
    low, high = (np.median(fit(name, noise, 0).field_sd_hz) for noise in (0.004, 0.016))
    assert high / low == pytest.approx(4, rel=0.02)


def test_a_steep_field_raises_it():
    flat, steep = fit("phase_snr", 0.001, 0), fit("phase_snr", 0.001, 0, 40.0 * MASK.cumsum(0))
    added = np.sqrt(steep.field_sd_hz**2 - flat.field_sd_hz**2)
    np.testing.assert_allclose(added, ERROR_PER_STEP * 40, rtol=0.02)


def test_steps_out_of_the_mask_do_not_count():
    outside = ~MASK
    outside[:8] = True
    field = np.where(outside, 0, 1000.0)
    phase = 2 * np.pi * field * np.array(TIMES_S)[:, None, None, None]
    exact = COMBINATION["phase_snr"](phase.astype(np.float32), MAGNITUDE, TIMES_S, ~outside)
    assert exact.field_sd_hz.max() < 0.01


def test_single_echo_noise_is_read_from_the_texture():
    # A smooth object in white noise of 0.05 per channel.
    generator = np.random.default_rng(1)
    noise = 0.05 * (generator.standard_normal(SHAPE) + 0j)
    noise += 0.05j * generator.standard_normal(SHAPE)
    signal = np.exp(1j * np.linspace(0, 3, 16)) + noise
    assert noise_sd(signal, MASK) == pytest.approx(0.05, rel=0.1)
