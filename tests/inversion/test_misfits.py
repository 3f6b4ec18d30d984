from __future__ import annotations

import pytest
import torch

from isdu_bids.inversion.misfits import TYPICAL_RESIDUAL_PPM, Absolutes, Phasors, Squares
from isdu_bids.inversion.problem import Problem, variance_weight

SCALE = 15.0
SIZE, B0 = (2.0, 2.0, 2.0), (0.0, 0.0, 1.0)


def costs(name, weight, field, z):
    residual = z - field
    return {
        "squares": weight * residual**2 / 2,
        "phasors": weight * (1 - torch.cos(SCALE * residual)) / SCALE**2,
        "absolutes": TYPICAL_RESIDUAL_PPM * weight.sqrt() * residual.abs(),
    }[name]


@pytest.mark.parametrize("name", ["squares", "phasors", "absolutes"])
def test_proximal_map_finds_the_least_cost(name, generator):
    field = 0.02 * torch.randn(6, 6, 6, generator=generator)
    near = 0.02 * torch.randn(6, 6, 6, generator=generator)
    sd = 0.5 + torch.rand(6, 6, 6, generator=generator)
    problem = Problem.around(field, torch.ones(6, 6, 6), SIZE, B0, field_sd_ppm=sd)
    misfit = {
        "squares": Squares,
        "phasors": lambda p: Phasors(p, SCALE),
        "absolutes": Absolutes,
    }[name](problem)
    coupling = 0.3
    found = problem.window.put_back(misfit(problem.window.cut(near), coupling))
    weight = variance_weight(torch.ones(6, 6, 6, dtype=torch.bool), field_sd_ppm=sd)

    def cost(z):
        return costs(name, weight, field, z) + coupling * (z - near) ** 2 / 2

    shifts = torch.linspace(-0.1, 0.1, 401).reshape(-1, 1, 1, 1)
    # 1e-7 ppm^2: a hundredth of what an error of 0.001 ppm costs, and float32's own error
    assert torch.all(cost(found) <= cost(near + shifts).amin(0) + 1e-7)


def test_weights_are_inverse_variances_of_mean_one():
    mask = torch.tensor([True, True, True, False])
    sd = torch.tensor([1.0, 2.0, torch.inf, 1.0])
    by_sd = variance_weight(mask, field_sd_ppm=sd)
    by_magnitude = variance_weight(mask, magnitude=torch.tensor([2.0, 1.0, 0.0, 5.0]))
    torch.testing.assert_close(by_sd, torch.tensor([2.4, 0.6, 0.0, 0.0]))
    torch.testing.assert_close(by_magnitude, by_sd)
    torch.testing.assert_close(variance_weight(mask), mask.float())


def test_no_voxel_outweighs_the_others():
    """A deviation estimated as 0 must not make its voxel the only one that counts."""
    mask = torch.ones(100, dtype=torch.bool)
    sd = torch.ones(100)
    sd[0] = 0.0
    weight = variance_weight(mask, field_sd_ppm=sd)
    torch.testing.assert_close(weight[0] / weight[1:], torch.full((99,), 4.0))
