import numpy as np
import pytest

from isdu_bids.quality.measures import flag_scan
from isdu_bids.quality.rim import rim_deviation

SIZE = (2.0, 2.0, 3.0)


@pytest.fixture
def ball():
    x, y, z = np.meshgrid(*(np.linspace(-60, 60, n) for n in (60, 60, 40)), indexing="ij")
    return np.sqrt(x**2 + y**2 + z**2)


def test_a_band_at_the_rim_is_seen_and_one_inside_is_not(ball):
    mask, noise = ball < 55, np.random.default_rng(0).normal(0, 0.02, ball.shape)
    quiet = rim_deviation(noise, mask, SIZE)
    assert quiet < 0.01
    assert rim_deviation(noise + 0.2 * (ball > 50), mask, SIZE) > 0.1
    assert rim_deviation(noise + 0.2 * (ball < 20), mask, SIZE) == pytest.approx(quiet, abs=2e-3)


def test_what_lies_outside_the_mask_does_not_matter(ball):
    mask = ball < 55
    loud = np.where(mask, 0.01, np.nan)
    assert rim_deviation(loud, mask, SIZE) == pytest.approx(0, abs=1e-6)


def test_nothing_to_measure(ball):
    assert np.isnan(rim_deviation(ball, ball < 0, SIZE))
    assert np.isnan(rim_deviation(ball * np.nan, ball < 55, SIZE))


@pytest.mark.parametrize("good", [0.0059, 0.0081, 0.0111])
def test_thresholds_tell_measured_good_scans_from_broken_ones(good):
    """Two simulated scans and the demonstration; the same with 5 % of the background; Philips."""
    assert "background_at_rim" not in {f.name for f in flag_scan({"rim_field_ppm": good})}
    for broken in (0.0398, 0.0424, 0.0245, 0.0237):
        assert "background_at_rim" in {f.name for f in flag_scan({"rim_field_ppm": broken})}


def test_voxels_thicker_than_the_rim_have_one():
    mask = np.zeros((8, 8, 8), bool)
    mask[1:7, 1:7, 1:7] = True
    volume = np.random.default_rng(0).normal(0, 1, mask.shape)
    assert np.isfinite(rim_deviation(volume, mask, (8.0, 8.0, 8.0)))
