"""Copies of the head half a field of view away are told, and do not turn the sign."""

import numpy as np
import pytest

from isdu_bids.phase.ghosts import ghost_fraction


@pytest.fixture
def head():
    """A ball in noise, with air on all sides."""
    place = np.stack(np.indices((60, 64, 56))).transpose(1, 2, 3, 0) - [30, 32, 28]
    return (place**2).sum(axis=-1) < 12**2


def magnitude_of(head, ghost=0.0, axis=1, noise=0.02):
    generator = np.random.default_rng(0)
    real, imaginary = noise * generator.normal(size=(2, *head.shape))
    copied = np.roll(head, head.shape[axis] // 2, axis)
    return np.hypot(head + ghost * copied + real, imaginary).astype(np.float32)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("ghost", [0.1, 0.3])
def test_the_strength_of_a_ghost_is_found(head, axis, ghost):
    # noise of 0.02 lifts the air to 0.024, of which the copy is free
    measured = ghost_fraction(magnitude_of(head, ghost, axis), head)
    assert measured == pytest.approx(ghost, abs=0.03)


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.2])
def test_air_without_a_ghost(head, noise):
    assert ghost_fraction(magnitude_of(head, noise=noise), head) == pytest.approx(0, abs=0.02)


def test_without_air_nothing_can_be_told(head):
    box = np.ix_(range(20, 40), range(22, 42), range(18, 38))
    assert ghost_fraction(magnitude_of(head)[box], head[box]) == 0
    assert ghost_fraction(np.zeros(head.shape), head) == 0
    assert ghost_fraction(magnitude_of(head), np.zeros_like(head)) == 0
