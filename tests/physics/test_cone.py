"""Noise seen on the zero cone: white noise is found as it is, susceptibility hardly counts."""

from __future__ import annotations

import pytest
import torch
from properties import ball

from isdu_bids.physics.cone import cone_noise_ppm
from isdu_bids.physics.dipole import forward_field

GEOMETRIES = [
    ((64, 60, 62), (1.0, 1.0, 1.0), (0.0, 0.0, 1.0)),
    ((60, 62, 40), (1.0, 1.0, 1.6), (0.0, 0.5, 0.866)),
]


@pytest.mark.parametrize(("shape", "size", "direction"), GEOMETRIES)
@pytest.mark.parametrize("sd", [0.001, 0.01])
def test_white_noise_is_found_beside_susceptibility(shape, size, direction, sd, generator):
    mask = ball(shape, 18)
    rough = torch.nn.functional.avg_pool3d(torch.randn((1, *shape), generator=generator), 3, 1, 1)
    chi = torch.where(mask, 0.15 * rough[0], 0.0)  # 0.03 ppm, most of it at short wavelengths
    field = forward_field(chi, size, direction)
    noisy = field + sd * torch.randn(shape, generator=generator)
    geometry = {"voxel_size_mm": size, "b0_direction": direction}
    found = cone_noise_ppm(noisy, mask, **geometry)
    alone = cone_noise_ppm(field, mask, **geometry)
    assert alone < 0.2 * field[mask].std()  # a ball blurs the spectrum more than a brain does
    # some 1,000 frequencies; what leaks from beside the cone is an estimate
    assert found == pytest.approx((sd**2 + alone**2) ** 0.5, rel=0.1, abs=3e-4)


def test_scale_and_offset(generator):
    mask = ball((40, 40, 40), 15)
    field = torch.randn((40, 40, 40), generator=generator)
    geometry = {"voxel_size_mm": (1, 1, 1), "b0_direction": (0, 0, 1)}
    level = cone_noise_ppm(field, mask, **geometry)
    assert cone_noise_ppm(3 * field + 7, mask, **geometry) == pytest.approx(3 * level, rel=1e-4)
    outside = torch.where(mask, field, torch.nan)
    assert cone_noise_ppm(outside, mask, **geometry) == pytest.approx(level, rel=1e-6)
    assert cone_noise_ppm(field, torch.zeros_like(mask), **geometry) == 0


def test_level_does_not_depend_on_the_order_of_axes():
    """Whichever axis the half spectrum is halved along: planes that stand for two count twice."""
    noise = torch.randn((22, 18, 26), generator=torch.Generator().manual_seed(0))
    mask = torch.ones((22, 18, 26), dtype=torch.bool)
    levels = [
        cone_noise_ppm(
            noise.permute(order),
            mask.permute(order),
            voxel_size_mm=[(2.0, 2.4, 3.0)[axis] for axis in order],
            b0_direction=[(0.0, 0.6, 0.8)[axis] for axis in order],
        )
        for order in ((0, 1, 2), (2, 1, 0), (0, 2, 1))
    ]
    assert levels[1:] == pytest.approx(levels[:1] * 2, rel=1e-4)
