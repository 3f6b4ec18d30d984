import numpy as np
import pytest
from faults import fault

from isdu_bids.errors import DataError
from isdu_bids.phase.scaling import decide_phase_scaling, explicit_scaling
from isdu_bids.phase.wrapping import wrap

NOMINAL = {
    "radians": (1.0, 0.0),
    "milliradians": (1000.0, 0.0),
    "12 bit signed (-4096 to 4095)": (4096 / np.pi, 0.0),
    "12 bit (0 to 4095)": (2048 / np.pi, 2048.0),
    "16 bit signed (-32768 to 32767)": (32768 / np.pi, 0.0),
    "half turns (-1 to 1)": (1 / np.pi, 0.0),
}


def stored_as(name, phase_rad):
    per_rad, zero = NOMINAL[name]
    stored = phase_rad * per_rad + zero
    if per_rad > 100:
        top = {"12 bit (0 to 4095)": 4095}.get(name, np.inf)
        stored = np.minimum(np.rint(stored), top)
    return stored


@pytest.mark.parametrize("name", NOMINAL)
def test_every_nominal_range_comes_back_as_radians(scan, name):
    stored = stored_as(name, scan.phase_rad.astype(float))
    scaling = decide_phase_scaling(stored)
    assert scaling.name == name
    tolerance = 2 / NOMINAL[name][0] if NOMINAL[name][0] > 100 else 1e-5
    assert np.abs(wrap(scaling.to_radians(stored) - scan.phase_rad)).max() < tolerance


def test_zero_to_two_pi_is_wrapped(scan):
    stored = np.mod(scan.phase_rad.astype(float), 2 * np.pi)
    radians = decide_phase_scaling(stored).to_radians(stored)
    np.testing.assert_allclose(wrap(radians - scan.phase_rad), 0, atol=1e-5)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7])
def test_narrow_radians_are_not_stretched(share):
    smooth = share * np.pi * np.linspace(-1, 1, 1000).reshape(1, 10, 10, 10)
    scaling = decide_phase_scaling(smooth, units="rad")
    np.testing.assert_array_equal(scaling.to_radians(smooth), smooth.astype(np.float32))


def test_narrow_phase_without_units_is_refused():
    smooth = 0.3 * np.pi * np.linspace(-1, 1, 1000).reshape(1, 10, 10, 10)
    with pytest.raises(DataError, match=r"Units missing.*set Units"):
        decide_phase_scaling(smooth)


def test_narrow_integers_keep_the_manufacturers_scale():
    smooth = np.rint(np.linspace(-1500, 1500, 1000)).reshape(1, 10, 10, 10)
    scaling = decide_phase_scaling(smooth, manufacturer="SIEMENS")
    assert scaling.flags == ("phase_range_not_filled",)
    assert scaling.slope == pytest.approx(np.pi / 4096)
    assert decide_phase_scaling(smooth, manufacturer="Philips Healthcare").slope == 1e-3
    with pytest.raises(DataError, match="no known phase range"):
        decide_phase_scaling(smooth)


@pytest.mark.parametrize("period", [0.00734875, 1.885])
def test_odd_range_is_accepted_where_wraps_prove_it(scan, period):
    stored = scan.phase_rad.astype(float) * period / (2 * np.pi)
    scaling = decide_phase_scaling(stored)
    assert scaling.flags == ("phase_scale_from_wraps",)
    assert np.abs(wrap(scaling.to_radians(stored) - scan.phase_rad)).max() < 1e-2
    assert scaling.to_radians([0.0])[0] == 0


def test_noise_in_an_odd_range_proves_nothing():
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 20, 20, 20))
    with pytest.raises(DataError, match="no known phase range"):
        decide_phase_scaling(noise)


def test_units_that_contradict_the_wraps_are_refused(scan):
    with pytest.raises(DataError, match=r"wraps at 1\.885"):
        decide_phase_scaling(0.3 * scan.phase_rad, units="rad")
    with pytest.raises(DataError, match='Units says "rad"'):
        decide_phase_scaling(scan.phase_rad * 1304, units="rad")


def test_not_finite_becomes_nan_and_is_flagged(scan):
    stored = scan.phase_rad.copy()
    stored[0, 3, 3, 3], stored[0, 4, 4, 4] = np.nan, np.inf
    scaling = decide_phase_scaling(stored)
    assert scaling.flags == ("phase_not_finite",)
    unknown = np.isnan(scaling.to_radians(stored))
    assert np.argwhere(unknown).tolist() == [[0, 3, 3, 3], [0, 4, 4, 4]]


def test_radians_with_exact_zero_and_pi_are_untouched(scan):
    stored = scan.phase_rad.copy()
    stored[0, 0, 0, :3] = [0, np.pi, -np.pi]
    radians = decide_phase_scaling(stored, units="rad").to_radians(stored)
    np.testing.assert_array_equal(radians, stored)


@pytest.mark.parametrize("stored", [np.zeros((1, 4, 4, 4)), np.full((1, 4, 4, 4), np.nan)])
def test_empty_phase_is_refused(stored):
    with pytest.raises(DataError, match="part-phase"):
        decide_phase_scaling(stored)


@pytest.mark.parametrize("factor", [0.5, 0.93, 1.1, 1.5, 2])
@pytest.mark.parametrize(
    "echoes",
    [
        pytest.param(
            slice(None), marks=fault("phase in rad times a factor", "refused: where it wraps")
        ),
        pytest.param(
            slice(2, 3), marks=fault("phase of one echo times a factor", "refused: where it wraps")
        ),
    ],
)
def test_scaled_phase_wraps_where_no_turn_ends(scan, echoes, factor):
    stored = scan.phase_rad.copy()
    stored[echoes] *= factor
    with pytest.raises(DataError, match=r"echo \d wraps at .* one turn would be 6\.283"):
        decide_phase_scaling(stored, units="rad")


def test_phase_beyond_one_turn_needs_units():
    beyond = np.linspace(-4.7, 4.7, 1000).reshape(1, 10, 10, 10)
    with pytest.raises(DataError, match="no known phase range"):
        decide_phase_scaling(beyond)
    assert decide_phase_scaling(beyond, units="rad").flags == ("phase_beyond_one_turn",)


def test_explicit_range_maps_its_ends_to_pi():
    scaling = explicit_scaling(0, 4096)
    np.testing.assert_allclose(np.abs(scaling.to_radians([0, 4096])), np.pi, rtol=1e-6)
    assert scaling.to_radians([2048])[0] == pytest.approx(0, abs=1e-6)
    with pytest.raises(DataError, match="lower value first"):
        explicit_scaling(1, 1)
