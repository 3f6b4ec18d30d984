from __future__ import annotations

import numpy as np
import pytest

from isdu_bids.evaluation.metrics import dice, nrmse_percent, slope


def test_known_answers():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(8, 8, 8))
    mask = np.zeros((8, 8, 8), bool)
    mask[2:6, 2:6, 2:6] = True
    assert nrmse_percent(truth + 3, truth, mask) == pytest.approx(0, abs=1e-6)
    assert nrmse_percent(0 * truth, truth, mask) == pytest.approx(100)
    assert nrmse_percent(0.7 * truth, truth, mask) == pytest.approx(30)
    assert slope(0.7 * truth + 2, truth, mask) == pytest.approx(0.7)
    outside = np.where(mask, truth, 99)
    assert nrmse_percent(outside, truth, mask) == pytest.approx(0, abs=1e-6)


def test_dice():
    a, b = np.zeros((2, 4), bool), np.zeros((2, 4), bool)
    a[0], b[:, :2] = True, True
    assert dice(a, b) == pytest.approx(0.5)
    assert dice(a, a) == 1
