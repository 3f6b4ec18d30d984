"""Echoes that contradict each other are refused by name, or repaired where that is certain."""

import numpy as np
import pytest
from faults import fault

from isdu_bids.errors import DataError
from isdu_bids.phase.consistency import check_echoes, step_moments, unexplained
from isdu_bids.phase.magnitudes import head_of
from isdu_bids.phase.signal import compare_echoes

SIZE_MM = (2.0, 2.0, 2.0)


@pytest.fixture(scope="module")
def three(scan_maker):
    return scan_maker((0.005, 0.012, 0.019))


@pytest.fixture(scope="module")
def two(scan_maker):
    return scan_maker((0.005, 0.012))


def compare(scan, phase=None, magnitude=None, times=None):
    names = [f"echo-{k}.nii" for k in range(1, len(scan.echo_times_s) + 1)]
    return compare_echoes(
        scan.phase_rad if phase is None else phase,
        scan.magnitude if magnitude is None else magnitude,
        scan.echo_times_s if times is None else times,
        SIZE_MM,
        names,
        names,
    )


def exchanged(volumes, i, j):
    order = list(range(len(volumes)))
    order[i], order[j] = j, i
    return volumes[order]


def test_sound_scans_pass_untouched(scan, three, two):
    for sound in (scan, three, two):
        phase, flags = compare(sound)
        assert flags == ()
        assert np.array_equal(phase, sound.phase_rad)


@pytest.mark.parametrize("snr", [100, 20])
def test_noise_is_no_contradiction(scan_maker, snr):
    assert compare(scan_maker((0.005, 0.012, 0.019), noise=1 / snr))[1] in (
        (),
        ("echoes_disagree",),
    )


def test_a_bipolar_readout_is_no_contradiction(scan_maker):
    assert compare(scan_maker(bipolar_rad=0.7))[1] == ()


@pytest.mark.parametrize("echo", [0, 1, 2])
@fault("phase of one of three echoes negated", "turned back; flagged", 0)
def test_a_negated_echo_is_turned_back(three, echo):
    negated = three.phase_rad.copy()
    negated[echo] *= -1
    phase, flags = compare(three, negated)
    assert flags == ("echo_sign_repaired",)
    assert np.array_equal(phase, three.phase_rad)


@fault("phase of one of two echoes negated")
def test_one_of_two_echoes_negated_is_refused(two):
    negated = two.phase_rad * np.array([1, -1], np.float32)[:, None, None, None]
    with pytest.raises(DataError, match=r"echo-1\.nii, echo-2\.nii: the phase does not grow in"):
        compare(two, negated)


@fault("phase of echo 2 is a copy of echo 1")
def test_a_copied_phase_is_refused(scan):
    copied = scan.phase_rad[[0, 0, 2, 3]]
    with pytest.raises(DataError, match=r"echo-2\.nii holds the same phase as echo-1\.nii"):
        compare(scan, copied)


@fault("phase of echo 2 is that of echo 1 with other noise")
def test_a_repeated_echo_is_refused(three, scan_maker):
    phase = three.phase_rad.copy()
    phase[1] = phase[0] + np.float32(0.01) * np.random.default_rng(1).standard_normal(
        phase[0].shape
    ).astype(np.float32)
    with pytest.raises(DataError, match="the phase does not grow in proportion to EchoTime"):
        compare(three, phase)


@pytest.mark.parametrize(
    ("i", "j"),
    [
        pytest.param(0, 2, marks=fault("phases of echoes 1 and 3 exchanged")),
        pytest.param(0, 1, marks=fault("phases of echoes 1 and 2 exchanged")),
    ],
)
def test_exchanged_phases_are_named(three, i, j):
    with pytest.raises(DataError, match=rf"echo-{i + 1}\.nii and echo-{j + 1}\.nii: the phase of"):
        compare(three, exchanged(three.phase_rad, i, j))


@fault("phases of two echoes exchanged in a scan of two")
def test_exchanged_phases_of_two_echoes_are_named(two):
    with pytest.raises(DataError, match=r"echo-1\.nii and echo-2\.nii: the phase of each fits"):
        compare(two, two.phase_rad[::-1])


@fault("images of echoes 1 and 3 exchanged")
def test_exchanged_images_grow_brighter(three):
    with pytest.raises(DataError, match=r"echo-2\.nii is .* times as bright as the earlier echo-1"):
        compare(three, exchanged(three.phase_rad, 0, 2), exchanged(three.magnitude, 0, 2))


@fault("magnitude of echo 2 is a copy of echo 1")
def test_a_copied_magnitude_is_refused(scan):
    with pytest.raises(DataError, match=r"echo-2\.nii holds the same magnitude as echo-1\.nii"):
        compare(scan, magnitude=scan.magnitude[[0, 0, 2, 3]])


@fault("echo times a tenth of the true ones", "flagged as an error", 0)
def test_echo_times_too_short_by_ten_decay_too_fast(scan):
    assert "decay_too_fast" in compare(scan, times=np.array(scan.echo_times_s) / 10)[1]


@fault("echo times ten times the true ones", "flagged as an error", 0)
def test_echo_times_too_long_by_ten_hardly_decay(scan):
    assert "decay_too_slow" in compare(scan, times=np.array(scan.echo_times_s) * 10)[1]


@fault("EchoTime of one echo wrong by a half")
def test_a_wrong_echo_time_is_noticed(three):
    with pytest.raises(DataError, match="the phase does not grow in proportion to EchoTime"):
        compare(three, times=(0.005, 0.018, 0.019))


@fault("EchoTime of one echo wrong by a tenth", "flagged", 0)
@pytest.mark.parametrize("times", [(0.0055, 0.012, 0.019), (0.005, 0.0108, 0.019),
                                   (0.005, 0.012, 0.0209)])  # fmt: skip
def test_uneven_times_are_doubtful_where_even_ones_fit(three, times):
    assert compare(three, times=times)[1] == ("echo_times_doubtful",)


@pytest.mark.parametrize("noise", [0.01, 0.05])
@pytest.mark.parametrize("times", [(0.005, 0.012, 0.02), (0.005, 0.011, 0.019),
                                   (0.005, 0.01, 0.02)])  # fmt: skip
def test_uneven_times_that_are_true_are_not_doubtful(scan_maker, times, noise):
    assert "echo_times_doubtful" not in compare(scan_maker(times, noise=noise))[1]


def test_too_little_signal_is_said(scan):
    small = scan.phase_rad[:, :6, :6, :6], scan.magnitude[:, :6, :6, :6]
    found = check_echoes(
        *small, scan.echo_times_s, head_of(small[1]), SIZE_MM, ["a", "b", "c", "d"]
    )
    assert found.flags == ("echoes_not_compared",)
    assert found.signs == (1, 1, 1, 1)


def test_the_offset_leaves_nothing_unexplained(scan):
    moments, n_blocks = step_moments(
        scan.phase_rad, scan.magnitude, head_of(scan.magnitude), SIZE_MM
    )
    assert n_blocks > 60
    assert unexplained(moments, scan.echo_times_s) < 0.01


@fault("the phase of an echo holds a field of its own", "flagged", 0)
def test_an_echo_with_a_little_phase_of_its_own_is_flagged(three):
    """A swing of 1 rad over the head, as where it moved between echoes: it leaves 3 to 15 %."""
    phase = three.phase_rad.copy()
    x = np.linspace(-1, 1, phase.shape[1])[:, None, None]
    phase[1] += (1.0 * x**2).astype(np.float32)
    assert "echoes_disagree" in compare(three, phase)[1]
