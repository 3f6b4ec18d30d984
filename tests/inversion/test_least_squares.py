from __future__ import annotations

import pytest
import torch
from properties import ball, check_linear, relative_difference

from isdu_bids.inversion.gradients import squared_gradient
from isdu_bids.inversion.least_squares import weight_by_discrepancy
from isdu_bids.inversion.problem import Problem
from isdu_bids.inversion.registry import INVERSION
from isdu_bids.physics.dipole import convolve, forward_field, spectrum

SHAPE, SIZE, B0 = (26, 24, 20), (2.0, 2.2, 2.6), (0.0, 0.6, 0.8)
tikhonov, tsvd, l2 = (INVERSION[name] for name in ("tikhonov", "tsvd", "l2"))
GEOMETRY = {"voxel_size_mm": SIZE, "b0_direction": B0}


@pytest.mark.parametrize("method", [tikhonov, tsvd])
def test_direct_methods_are_linear(method, generator):
    a, b = torch.randn((2, *SHAPE), generator=generator)
    check_linear(lambda field: method(field, ball(SHAPE, 9), **GEOMETRY), a, b, 1e-5)


@pytest.mark.parametrize("method", [tikhonov, tsvd])
def test_known_ball_comes_back(method):
    head, source = ball(SHAPE, 9), ball(SHAPE, 4)
    field = forward_field(0.2 * source, SIZE, B0) * head
    chi = method(field, head, **GEOMETRY)
    assert float(chi[source].mean() - chi[head & ~source].mean()) == pytest.approx(0.2, rel=0.25)
    assert torch.all(chi[~head] == 0)


def test_noise_chooses_the_weight_whose_misfit_it_explains(generator):
    head = ball(SHAPE, 9)
    noise = 0.01 * torch.randn(SHAPE, generator=generator)
    field = (forward_field(0.2 * ball(SHAPE, 4), SIZE, B0) + noise) * head
    problem = Problem.around(field, head, SIZE, B0)
    roughness = squared_gradient(problem.window.shape, SIZE)
    roughness[0, 0, 0] = 1.0
    expected = 0.01**2 * int(head.sum())
    weight = weight_by_discrepancy(spectrum(problem.field_ppm), problem, roughness, expected)
    penalty = weight * roughness
    residual = convolve(problem.field_ppm, penalty / (problem.kernel**2 + penalty))
    residual -= residual.mean()
    assert float(residual.square().sum()) == pytest.approx(expected, rel=1e-3)
    chosen = tikhonov(field, head, **GEOMETRY, field_sd_ppm=torch.full(SHAPE, 0.01))
    given = tikhonov(field, head, **GEOMETRY, weight=weight)
    assert relative_difference(chosen, given) < 1e-5


def test_more_noise_makes_it_smoother(generator):
    head = ball(SHAPE, 9)
    noise = torch.randn(SHAPE, generator=generator)
    field = (forward_field(0.2 * ball(SHAPE, 4), SIZE, B0) + 0.01 * noise) * head
    maps = [
        tikhonov(field, head, **GEOMETRY, field_sd_ppm=torch.full(SHAPE, sd))
        for sd in (0.005, 0.02)
    ]
    assert maps[1].std() < maps[0].std()


def test_given_weight_means_what_it_does_in_l2():
    head = ball(SHAPE, 9)
    field = forward_field(0.2 * ball(SHAPE, 4), SIZE, B0) * head
    one, other = (method(field, head, **GEOMETRY, weight=3e-3) for method in (tikhonov, l2))
    # they differ by the width of the margin only
    one, other = (chi[head] - chi[head].mean() for chi in (one, other))
    assert relative_difference(one, other) < 0.1
