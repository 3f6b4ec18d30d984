from __future__ import annotations

import torch
from properties import check_adjoint, relative_difference

from isdu_bids.inversion.gradients import (
    gradient,
    gradient_adjoint,
    soft_threshold,
    squared_gradient,
)
from isdu_bids.physics.dipole import convolve

SIZE = (1.0, 1.3, 2.0)


def test_gradient_is_per_mm_along_each_axis():
    x, y, z = torch.meshgrid(*(torch.arange(6.0) * size for size in SIZE), indexing="ij")
    slopes = gradient(2 * x - 3 * y + 5 * z, SIZE)[:, :-1, :-1, :-1]
    for slope, expected in zip(slopes, (2, -3, 5), strict=True):
        torch.testing.assert_close(slope, torch.full_like(slope, expected))


def test_gradient_has_its_adjoint(generator):
    x = torch.randn(8, 9, 10, generator=generator, dtype=torch.float64)
    y = torch.randn(3, 8, 9, 10, generator=generator, dtype=torch.float64)
    check_adjoint(lambda v: gradient(v, SIZE), lambda v: gradient_adjoint(v, SIZE), x, y, 1e-12)


def test_squared_gradient_is_gradient_and_adjoint_in_k_space(generator):
    x = torch.randn(8, 9, 10, generator=generator)
    expected = gradient_adjoint(gradient(x, SIZE), SIZE)
    assert relative_difference(convolve(x, squared_gradient(x.shape, SIZE)), expected) < 1e-5


def test_soft_threshold_is_the_proximal_map_of_the_absolute_value():
    candidates = torch.linspace(-3, 3, 6001)
    for value in (-2.0, -0.3, 0.0, 0.7, 1.9):
        cost = (candidates - value) ** 2 / 2 + 0.8 * candidates.abs()
        best = candidates[cost.argmin()]
        torch.testing.assert_close(
            soft_threshold(torch.tensor(value), 0.8), best, atol=1.1e-3, rtol=0
        )
