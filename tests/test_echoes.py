import numpy as np
import pytest

from isdu_bids.echoes import (
    check_echo_times,
    evenly_spaced,
    need_echoes,
    spacing_flags,
)
from isdu_bids.errors import DataError
from isdu_bids.phase.relaxation import relaxation_method


@pytest.mark.parametrize("times", [[0.005, 0.010, 0.015], [0.02], [0.004, 0.012], [1e-4, 0.5]])
def test_plausible_echo_times_pass(times):
    check_echo_times(times)
    assert spacing_flags(times) == ()


def test_uneven_and_missing_echoes_are_told_apart():
    assert spacing_flags([0.005, 0.010, 0.020, 0.025]) == ("echo_missing",)
    assert spacing_flags([0.005, 0.010, 0.017]) == ("echo_spacing_uneven",)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([4.0, 8.0], "milliseconds.*e.g. 0.008"),
        ([], "seconds"),
        ([0.004, -0.008], "positive"),
        ([0.004, float("nan")], "positive"),
        ([0.008, 0.004], "must increase"),
        ([0.004, 0.004], "must increase"),
    ],
)
def test_impossible_echo_times_are_refused(times, message):
    with pytest.raises(DataError, match=message):
        check_echo_times(times)


@pytest.mark.parametrize(
    ("gaps_ms", "even"),
    [((1.0, 1.05), False), ((1.0, 1.02), True), ((5.0, 5.1), True), ((5.0, 5.11), False)],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("first_ms", [0.9, 3.1, 41.7])
def test_even_means_the_same_to_flags_and_fits_in_either_precision(gaps_ms, even, dtype, first_ms):
    """Two percent exactly is even, wherever the echo train begins."""
    times = np.cumsum(np.array([first_ms, *gaps_ms])) / 1000
    assert evenly_spaced(times.astype(dtype)) is even
    assert (spacing_flags(times) == ()) is even
    assert (relaxation_method(times) == "arlo") is even


def test_too_few_echoes_are_refused_with_a_remedy():
    need_echoes(3, 3, "R2*", "leave it out")
    with pytest.raises(DataError, match="needs 3 echoes, the scan has 2; leave it out"):
        need_echoes(2, 3, "R2*", "leave it out")
