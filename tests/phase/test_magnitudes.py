"""What is no magnitude is refused; single voxels are repaired."""

import numpy as np
import pytest
from faults import fault

from isdu_bids.errors import DataError
from isdu_bids.phase.magnitudes import clean_magnitude
from isdu_bids.phase.scaling import decide_phase_scaling
from isdu_bids.phase.signal import compare_echoes

NAMES = [f"echo-{k}.nii" for k in range(1, 5)]


def test_a_sound_magnitude_is_untouched(scan):
    clean, flags = clean_magnitude(scan.magnitude, NAMES)
    assert flags == ()
    assert np.array_equal(clean, scan.magnitude)


@fault("five magnitude voxels a million times too bright", "repaired; flagged", 0)
def test_spikes_become_the_median_of_their_neighbours(scan):
    spoilt = scan.magnitude.copy()
    voxels = np.argwhere(scan.mask)[:: scan.mask.sum() // 5][:5]
    spoilt[1][tuple(voxels.T)] *= 1e6
    clean, flags = clean_magnitude(spoilt, NAMES)
    assert flags == ("magnitude_spikes",)
    changed = clean != scan.magnitude
    assert changed.sum() <= 5
    np.testing.assert_allclose(clean[changed], scan.magnitude[changed], rtol=0.2)


@fault("infinite magnitude in some voxels", "count as no signal; flagged", 0)
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_values_that_are_not_finite_are_no_signal(scan, value):
    spoilt = scan.magnitude.copy()
    spoilt[0, 20, 20, 20] = value
    clean, flags = clean_magnitude(spoilt, NAMES)
    assert flags == ("magnitude_not_finite",)
    assert clean[0, 20, 20, 20] == 0
    assert np.array_equal(clean[1:], scan.magnitude[1:])


@pytest.mark.parametrize(
    "volume",
    [
        pytest.param(7.0, marks=fault("magnitude constant")),
        pytest.param(np.inf, marks=fault("magnitude infinite everywhere")),
    ],
)
def test_a_constant_magnitude_is_refused(scan, volume):
    spoilt = scan.magnitude.copy()
    spoilt[2] = volume
    with pytest.raises(DataError, match=r"echo-3\.nii: the magnitude is constant"):
        clean_magnitude(spoilt, NAMES)


@fault("magnitude and phase exchanged, phase -pi to pi")
def test_a_phase_is_no_magnitude(scan):
    with pytest.raises(DataError, match=r"echo-1\.nii: the magnitude has negative values"):
        clean_magnitude(scan.phase_rad, NAMES)


@fault("magnitude and phase exchanged, phase from 0 to 4095")
def test_a_magnitude_is_no_phase(scan):
    stored = np.round(2000 * scan.magnitude).astype(np.int16)
    with pytest.raises(DataError, match="fits no known phase range"):
        decide_phase_scaling(stored, units="arbitrary", manufacturer="Siemens")


@fault("magnitude and phase exchanged, magnitude fills the range of a phase")
def test_a_magnitude_is_no_phase_whatever_its_range(scan):
    phase = np.float32(2 * np.pi / scan.magnitude.max()) * scan.magnitude - np.float32(np.pi)
    magnitude = scan.phase_rad + np.float32(np.pi)
    with pytest.raises(DataError, match=r"echo-\d\.nii"):
        compare_echoes(phase, magnitude, scan.echo_times_s, (2.0, 2.0, 2.0), NAMES, NAMES)


@fault("voxels of 1e30 in a magnitude", "count as no signal; flagged", 0)
@pytest.mark.parametrize("value", [1e30, -1e30, 3e38])
def test_values_too_large_to_compute_with_are_no_signal(scan, value):
    spoilt = scan.magnitude.copy()
    spoilt[1, 18:24, 18:24, 14:20] = value
    clean, flags = clean_magnitude(spoilt, NAMES)
    assert flags == ("magnitude_not_finite",)
    assert (clean[1, 18:24, 18:24, 14:20] == 0).all()


def test_a_negative_spike_is_repaired_as_well(scan):
    spoilt = scan.magnitude.copy()
    spoilt[1, 20, 20, 16] *= -1e6
    clean, flags = clean_magnitude(spoilt, NAMES)
    assert flags == ("magnitude_spikes",)
    np.testing.assert_allclose(clean, scan.magnitude, rtol=0.2, atol=0.1)


def flags_of(scan, magnitude):
    _, flags = compare_echoes(
        scan.phase_rad, magnitude, scan.echo_times_s, (2.0, 2.0, 2.0), NAMES, NAMES
    )
    return flags


def test_sound_echoes_decay_together(scan):
    assert flags_of(scan, scan.magnitude) == ()


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(
            lambda echo: np.abs(echo + np.random.default_rng(0).normal(0, 0.3, echo.shape)),
            marks=fault("magnitude of one echo noisy", "flagged", 0),
        ),
        pytest.param(
            lambda echo: np.roll(echo, 4, axis=1),
            marks=fault("magnitude of one echo has moved", "flagged", 0),
        ),
    ],
)
@pytest.mark.parametrize("echo", [1, 3])
def test_an_echo_that_does_not_decay_with_the_others_is_told(scan, spoil, echo):
    magnitude = scan.magnitude.copy()
    magnitude[echo] = spoil(magnitude[echo])
    assert "magnitudes_disagree" in flags_of(scan, magnitude)


@fault("magnitude cut off at its top", "flagged", 0)
def test_a_magnitude_without_its_top_is_told(scan):
    magnitude = scan.magnitude.copy()
    magnitude[0] = np.minimum(magnitude[0], 0.9 * magnitude[0].max())
    assert flags_of(scan, magnitude) == ("magnitude_saturated",)


def test_gaps_are_among_what_is_told(scan):
    magnitude = scan.magnitude.copy()
    magnitude[2, :, :, 17] = 0
    assert "slice_missing" in flags_of(scan, magnitude)
