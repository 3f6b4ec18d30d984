import numpy as np
import pytest
from faults import fault

from isdu_bids.errors import DataError
from isdu_bids.phase.registry import RELAXATION
from isdu_bids.phase.relaxation import decay_flags, fit_relaxation

EVEN = tuple(0.004 * np.arange(1, 7))
UNEVEN = (0.003, 0.006, 0.012, 0.02, 0.03)
MASK = np.ones((10, 10, 10), bool)
RATES = np.linspace(5, 60, 1000).reshape(10, 10, 10)


def decay(times, noise=0.0):
    times = np.array(times)[:, None, None, None]
    generator = np.random.default_rng(0)
    return 500 * np.exp(-RATES * times) + noise * generator.standard_normal(
        (len(times), 10, 10, 10)
    )


@pytest.mark.parametrize("times", [EVEN, UNEVEN])
@pytest.mark.parametrize("name", RELAXATION)
def test_exact_decay_gives_exact_rates(name, times):
    if name == "arlo" and times == UNEVEN:
        with pytest.raises(DataError, match="evenly spaced"):
            fit_relaxation(decay(times), times, MASK, name)
        return
    result = fit_relaxation(decay(times), times, MASK, name)
    np.testing.assert_allclose(result.r2star_per_s, RATES, rtol=5e-4)
    np.testing.assert_allclose(result.t2star_s, 1 / RATES, rtol=5e-4)
    np.testing.assert_allclose(result.s0, 500, rtol=1e-3)


def test_nonlinear_is_the_least_biased_in_noise():
    signals = decay(EVEN, noise=15)
    errors = {
        name: abs(np.mean(fit_relaxation(signals, EVEN, MASK, name).r2star_per_s - RATES))
        for name in RELAXATION
    }
    assert errors["nonlinear"] < 0.5
    assert errors["arlo"] < 1.5


def test_nonlinear_minimises_the_squares():
    signals, times = decay(EVEN, noise=15), np.array(EVEN)[:, None, None, None]

    def squares(result):
        model = result.s0 * np.exp(-result.r2star_per_s * times)
        return ((signals - model) ** 2).sum(axis=0)

    best = squares(fit_relaxation(signals, EVEN, MASK, "nonlinear"))
    for other in ("arlo", "loglinear"):
        assert np.all(best <= squares(fit_relaxation(signals, EVEN, MASK, other)) * (1 + 1e-3))


def test_auto_takes_arlo_only_for_even_spacing():
    even, uneven = decay(EVEN, noise=5), decay(UNEVEN, noise=5)
    np.testing.assert_array_equal(
        fit_relaxation(even, EVEN, MASK).s0, fit_relaxation(even, EVEN, MASK, "arlo").s0
    )
    np.testing.assert_array_equal(
        fit_relaxation(uneven, UNEVEN, MASK).s0,
        fit_relaxation(uneven, UNEVEN, MASK, "loglinear").s0,
    )


def test_empty_voxels_stay_finite_and_outside_is_zero():
    signals = decay(EVEN)
    signals[:, 0], signals[2, 1, 1, 1] = 0, np.nan
    mask = MASK.copy()
    mask[9] = False
    for name in RELAXATION:
        result = fit_relaxation(signals, EVEN, mask, name)
        assert np.isfinite(result.r2star_per_s).all()
        assert not result.r2star_per_s[9].any()


def test_two_echoes_are_refused():
    with pytest.raises(DataError, match="needs 3 echoes"):
        fit_relaxation(decay(EVEN)[:2], EVEN[:2], MASK)


@fault("all echo times half of the true ones, or twice", "flagged", 0)
@pytest.mark.parametrize("field_strength_t", [1.5, 3.0, 7.0])
def test_decay_of_no_adult_is_flagged(field_strength_t):
    """Medians of grey and white matter at these fields: Peters 2007."""
    usual = np.full(MASK.shape, {1.5: 13.5, 3.0: 17.0, 7.0: 33.7}[field_strength_t])
    times = np.array(EVEN)
    for factor, flags in {0.5: ("decay_unusual",), 1.0: (), 2.0: ("decay_unusual",)}.items():
        found = decay_flags(usual / factor, MASK, (factor * times).tolist(), field_strength_t)
        assert found == flags
    assert decay_flags(10 * usual, MASK, (0.002, 0.004, 0.006), field_strength_t) == ()
    assert decay_flags(usual, np.zeros_like(MASK), EVEN, field_strength_t) == ()
