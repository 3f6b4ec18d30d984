from functools import partial

import numpy as np
import pytest

from isdu_bids.errors import DataError
from isdu_bids.phase import offsets
from isdu_bids.phase.registry import OFFSET
from isdu_bids.phase.wrapping import wrap

SIZE_MM = (2.0, 2.0, 2.0)
phase_offset = OFFSET["monopolar"]
bipolar_offset = partial(offsets.bipolar_offset, smoothing_mm=7.0)


def worst(difference, mask):
    return np.percentile(np.abs(wrap(difference))[..., mask], 99)


def test_offset_of_a_monopolar_scan_is_found(scan):
    offset = phase_offset(*scan.given)
    assert worst(offset - scan.offset_rad, scan.mask) < 0.1


def test_no_offset_gives_none(scan_maker):
    scan = scan_maker(offset=False)
    assert worst(phase_offset(*scan.given), scan.mask) < 0.06


def test_a_constant_added_to_all_echoes_goes_into_the_offset(scan):
    shifted = wrap(scan.phase_rad + np.float32(2.0))
    change = phase_offset(shifted, *scan.given[1:]) - phase_offset(*scan.given)
    assert worst(change - 2.0, scan.mask) < 1e-3


@pytest.mark.parametrize("times", [(0.004, 0.009, 0.014, 0.019), (0.004, 0.009, 0.016, 0.021)])
def test_bipolar_phase_is_removed(scan_maker, times):
    scan = scan_maker(times, bipolar_rad=0.5)
    first = phase_offset(*scan.given)
    phase = wrap(scan.phase_rad - first)
    rest = wrap(phase - scan.true_rad)
    assert worst(rest, scan.mask) > 0.3
    corrected = phase - bipolar_offset(phase, *scan.given[1:])
    assert worst(corrected - scan.true_rad, scan.mask) < worst(rest, scan.mask) / 3


def test_too_few_echoes_are_refused(scan_maker):
    one = scan_maker((0.01,))
    with pytest.raises(DataError, match="needs 2 echoes"):
        phase_offset(*one.given)
    two = scan_maker((0.01, 0.02))
    with pytest.raises(DataError, match="needs 3 echoes"):
        bipolar_offset(two.phase_rad, two.magnitude, two.echo_times_s, two.mask, SIZE_MM)
