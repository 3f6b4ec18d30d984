import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from isdu_bids.phase.wrapping import align_echoes, congruent, wrap

angles = st.floats(-1000, 1000, width=32)


@given(angles)
def test_wrap_changes_by_whole_turns_and_stays_within_pi(angle):
    wrapped = float(wrap([angle])[0])
    assert abs(wrapped) <= np.pi + 1e-4
    assert abs((angle - wrapped) / (2 * np.pi) - round((angle - wrapped) / (2 * np.pi))) < 1e-4


@given(st.floats(-float(np.float32(np.pi)), float(np.float32(np.pi)), width=32))
def test_wrap_leaves_the_principal_range_bit_for_bit(angle):
    assert wrap([angle])[0] == np.float32(angle)


def test_wrap_keeps_zero_and_both_pi():
    exact = np.array([0.0, np.pi, -np.pi], np.float32)
    np.testing.assert_array_equal(wrap(exact), exact)


@given(angles, angles)
def test_congruent_lies_within_half_a_turn_of_its_reference(angle, reference):
    moved = congruent(np.float32([angle]), np.float32([reference]))
    assert abs(moved[0] - np.float32(reference)) <= np.pi + 1e-3


def test_align_echoes_undoes_whole_turns_per_echo():
    times = (0.005, 0.010, 0.015)
    field = np.linspace(-40, 60, 27, dtype=np.float32).reshape(3, 3, 3)
    true = np.stack([2 * np.pi * field * t for t in times]).astype(np.float32)
    shifted = true + 2 * np.pi * np.float32([2, -1, 3])[:, None, None, None]
    aligned = align_echoes(shifted.astype(np.float32), np.ones((3, 3, 3), bool), times)
    np.testing.assert_allclose(aligned, true, atol=1e-4)
