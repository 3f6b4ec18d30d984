"""What networks with noise input are told."""

from __future__ import annotations

import pytest
import torch
from properties import ball, relative_difference
from test_inference import AXIAL, NOISE_AWARE, scene, weights
from test_unrolled import susceptibility

from isdu_bids.networks.noise import model_error_ppm, total_sd_ppm
from isdu_bids.networks.registry import ISDU


def test_known_noise_and_model_error_add_up_to_what_the_cone_shows(generator):
    mask = ball((48, 48, 48), 20)
    field = 0.004 * torch.randn((48, 48, 48), generator=generator)
    for known in (0.0, 0.001, 0.003):
        sd = torch.full_like(field, known)
        error = model_error_ppm(field, mask, sd, **AXIAL)
        total = total_sd_ppm(field, sd, error)
        assert total.shape == field.shape
        assert total[mask].mean() == pytest.approx(0.004, rel=0.1)
    assert model_error_ppm(field, mask, torch.full_like(field, 0.02), **AXIAL) == 0


def test_a_network_asks_the_cone_unless_it_is_told(generator):
    field, mask = scene(radius=9.0)
    net = weights(**NOISE_AWARE)
    error = model_error_ppm(field, mask, **AXIAL)
    by_itself = susceptibility(field, mask, weights=net, **AXIAL)
    told = susceptibility(field, mask, weights=net, model_error_ppm=error, **AXIAL)
    assert torch.equal(by_itself, told)
    exact = susceptibility(field, mask, weights=net, model_error_ppm=0.0, **AXIAL)
    assert relative_difference(exact, told) > 0.05
    ready = ISDU.prepared({"weights": net}, {"field_ppm": field, "mask": mask, **AXIAL})
    assert ready.parameters["model_error_ppm"] == pytest.approx(error)
