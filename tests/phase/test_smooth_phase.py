import numpy as np
import pytest

from isdu_bids.phase.smooth_phase import smooth_phase
from isdu_bids.phase.wrapping import wrap

SHAPE, SIZE_MM = (40, 30, 24), (2.0, 3.0, 4.0)
X, Y, Z = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
SMOOTH = (3 * X**2 - 2 * X * Y + 4 * Z + np.cos(2 * Y)).astype(np.float32)
BALL = (X**2 + Y**2 + Z**2 < 1).astype(np.float32)


def test_smooth_phase_is_kept_up_to_the_rim_and_over_turns():
    assert np.abs(wrap(smooth_phase(wrap(SMOOTH), BALL, SIZE_MM) - SMOOTH))[BALL > 0].max() < 0.03


def test_noise_is_averaged_and_outliers_are_ignored():
    generator = np.random.default_rng(0)
    noisy = SMOOTH + 0.1 * generator.standard_normal(SHAPE)
    wrong = (X - 0.5) ** 2 + Y**2 + Z**2 < 0.15**2
    noisy[wrong] += 1.5
    error = wrap(smooth_phase(wrap(noisy), BALL, SIZE_MM) - SMOOTH)[BALL > 0]
    assert error.std() < 0.02


@pytest.mark.parametrize("shape", [(40, 30, 1), (5, 4, 3)])
def test_thin_volumes(shape):
    ramp = 0.01 * np.arange(shape[0], dtype=np.float32)[:, None, None] * np.ones(shape, "f4")
    np.testing.assert_allclose(smooth_phase(ramp, np.ones(shape), SIZE_MM), ramp, atol=0.01)


def test_nothing_known_gives_nothing():
    assert not smooth_phase(SMOOTH, 0 * BALL, SIZE_MM).any()
