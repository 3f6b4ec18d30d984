import numpy as np
import pytest
from faults import fault

from isdu_bids.errors import DataError
from isdu_bids.phase import mapping
from isdu_bids.phase.checks import SignCheck
from isdu_bids.phase.mapping import map_field
from isdu_bids.phase.registry import COMBINATION, UNWRAPPING
from isdu_bids.phase.wrapping import wrap

SIZE_MM = (2.0, 2.0, 2.0)


def off_hz(result, scan):
    error = (result.field_hz - scan.field_hz)[scan.mask]
    return np.abs(error - np.median(error))


@pytest.mark.parametrize("combination", COMBINATION)
def test_field_of_a_multi_echo_scan(scan, combination):
    result = map_field(*scan.given, combination=combination)
    assert np.median(off_hz(result, scan)) < 1.5
    assert np.mean(off_hz(result, scan) > 10) < 2e-3


@pytest.mark.parametrize("unwrapping", UNWRAPPING)
def test_every_unwrapping_runs(scan, unwrapping):
    result = map_field(*scan.given, unwrapping=unwrapping)
    assert np.corrcoef(result.field_hz[scan.mask], scan.field_hz[scan.mask])[0, 1] > 0.8
    assert any(UNWRAPPING[unwrapping].description in text for text, _ in result.steps)


def test_phase_and_field_have_the_same_sign(scan):
    result = map_field(*scan.given)
    flipped = map_field(-scan.phase_rad, *scan.given[1:])
    assert np.corrcoef(result.field_hz[scan.mask], scan.field_hz[scan.mask])[0, 1] > 0.99
    np.testing.assert_allclose(flipped.field_hz[scan.mask], -result.field_hz[scan.mask], atol=0.5)


def test_everything_is_zero_outside_the_mask(scan):
    result = map_field(*scan.given)
    for volume in (result.field_hz, result.field_sd_hz, result.quality, result.residual_rad):
        assert volume.dtype == np.float32
        assert not volume[~scan.mask].any()


def test_single_echo_keeps_its_offset_and_says_so(scan_maker):
    scan = scan_maker((0.008,), offset=False)
    result = map_field(*scan.given)
    assert "single_echo" in result.flags
    assert any("single echo" in text for text, _ in result.steps)
    assert np.median(off_hz(result, scan)) < 2
    assert not result.offset_rad.any()


def test_bipolar_readout(scan_maker):
    scan = scan_maker(bipolar_rad=0.6)
    plain = map_field(*scan.given, combination="linear")
    corrected = map_field(*scan.given, combination="linear", offset="bipolar")
    assert (
        np.median(corrected.residual_rad[scan.mask]) < np.median(plain.residual_rad[scan.mask]) / 3
    )


def test_nan_leaves_the_mask_and_harms_nobody(scan):
    phase, magnitude = scan.phase_rad.copy(), scan.magnitude.copy()
    phase[1, 20, 20, 20], magnitude[0, 15, 20, 20] = np.nan, np.nan
    result = map_field(phase, magnitude, *scan.given[2:])
    assert "voxels_not_finite" in result.flags
    assert np.isfinite(result.field_hz).all()
    assert result.field_hz[20, 20, 20] == result.field_hz[15, 20, 20] == 0
    assert np.median(off_hz(result, scan)) < 1.5


def test_alternating_slices_are_repaired(scan):
    flip = np.pi * (np.arange(scan.mask.shape[2]) % 2)
    result = map_field(wrap(scan.phase_rad + flip), *scan.given[1:])
    assert "slice_polarity_repaired" in result.flags
    assert np.median(off_hz(result, scan)) < 1.5


def test_no_magnitude_is_no_obstacle(scan):
    result = map_field(scan.phase_rad, None, *scan.given[2:])
    assert np.median(off_hz(result, scan)) < 2
    assert "sign_unchecked" in result.flags


def test_sign_check_ends_in_a_flag(scan):
    result = map_field(*scan.given, b0_direction=(0, 0, 1))
    assert sum(flag.startswith("sign_") for flag in result.flags) == 1


@fault("a constant added to the phase of one echo", "flagged", 0)
@pytest.mark.parametrize("echo", [0, 1, 3])
def test_an_echo_off_by_a_constant_is_told(scan, echo):
    phase = scan.phase_rad.copy()
    phase[echo] = wrap(phase[echo] + np.float32(0.8))
    assert "echo_offset" in map_field(phase, *scan.given[1:]).flags
    assert "echo_offset" not in map_field(*scan.given).flags


def test_a_doubtful_direction_of_b0_is_told(scan, monkeypatch):
    found = SignCheck("right", 0.3, best_direction=(0, 0, 1))
    monkeypatch.setattr(mapping, "check_sign", lambda *_: found)
    assert "b0_direction_doubtful" in map_field(*scan.given, b0_direction=(1, 0, 0)).flags


@pytest.mark.parametrize("defect", ["magnitude", "mask", "times", "milliseconds", "empty"])
def test_bad_input_is_named(scan, defect):
    phase, magnitude, times, mask, _ = scan.given
    cases = {
        "magnitude": ((phase, magnitude[:, 1:], times, mask), "missing slice"),
        "mask": ((phase, magnitude, times, mask[1:]), "mask"),
        "times": ((phase, magnitude, times[1:], mask), "EchoTime"),
        "milliseconds": ((phase, magnitude, [4, 9, 14, 19], mask), "milliseconds"),
        "empty": ((phase, magnitude, times, np.zeros_like(mask)), "mask is empty"),
    }
    arguments, message = cases[defect]
    with pytest.raises(DataError, match=message):
        map_field(*arguments, SIZE_MM)
