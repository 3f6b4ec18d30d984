"""Susceptibility as an inversion leaves it."""

import numpy as np
import pytest
import torch
from properties import ball

from isdu_bids.simulation.inverted import as_inverted


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def test_the_map_stays_recognisable_inside_the_brain():
    brain = ball((40, 44, 36), 15)
    chi = 0.1 * ball((40, 44, 36), 6).float()
    for seed in range(6):
        found = as_inverted(chi, brain, seeded(seed))
        assert torch.all(found[~brain] == 0)
        inside = found != 0
        assert inside.sum() > 0.3 * brain.sum()
        assert 0 <= abs(float(found[inside].mean())) < 0.02
        correlation = np.corrcoef(chi[inside], found[inside])[0, 1]
        assert correlation > 0.4


def test_it_is_never_the_same_twice():
    brain, chi = ball((24, 24, 24), 9), torch.zeros(24, 24, 24)
    assert torch.equal(as_inverted(chi, brain, seeded(1)), as_inverted(chi, brain, seeded(1)))
    assert not torch.equal(as_inverted(chi, brain, seeded(1)), as_inverted(chi, brain, seeded(2)))


@pytest.mark.parametrize("shape", [(20, 22, 24), (32, 32, 16)])
def test_without_a_brain_there_is_no_map(shape):
    nothing = torch.zeros(shape)
    assert torch.all(as_inverted(nothing, nothing.bool(), seeded(0)) == 0)
