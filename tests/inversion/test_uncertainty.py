from __future__ import annotations

import torch
from properties import ball

from isdu_bids.inversion.registry import INVERSION
from isdu_bids.inversion.uncertainty import standard_deviation
from isdu_bids.physics.dipole import convolve, dipole_kernel

SHAPE, SIZE = (24, 20, 22), (1.0, 1.0, 1.0)


def l2(inputs, weight=3e-3):
    return INVERSION["l2"].run(inputs, weight=weight)


def inputs_of(field, mask, b0=(0.0, 0.0, 1.0)):
    return {"field_ppm": field, "mask": mask, "voxel_size_mm": SIZE, "b0_direction": b0}


def test_linear_methods_only_pass_noise_on(generator):
    """For l2 the standard deviation is known: the norm of the inverse's point response."""
    everywhere = torch.ones(SHAPE, dtype=torch.bool)
    impulse = torch.zeros(SHAPE)
    impulse[12, 10, 11] = 1
    response = l2(inputs_of(impulse, everywhere), weight=0.05)
    expected = 0.002 * float(response.norm())
    sd = standard_deviation(
        lambda inputs: l2(inputs, weight=0.05),
        inputs_of(torch.zeros(SHAPE), everywhere),
        field_sd_ppm=torch.full(SHAPE, 0.002),
        members=32,
    )
    # relative error of a standard deviation from 32 members, averaged over correlated voxels
    assert abs(float(sd[6:-6, 5:-5, 5:-5].mean()) / expected - 1) < 0.15


def test_mirroring_alone_does_not_change_what_is_symmetric(generator):
    """A linear inversion of a noiseless field is the same from every side, B0 oblique or not."""
    mask = ball(SHAPE, 8)
    b0 = (0.48, 0.36, 0.8)
    chi = torch.randn(SHAPE, generator=generator) * mask
    field = convolve(chi, dipole_kernel(SHAPE, SIZE, b0)) * mask
    sd = standard_deviation(l2, inputs_of(field, mask, b0))
    assert float(sd.max()) < 1e-3 * float(chi.std())
    assert torch.all(sd[~mask] == 0)


def test_same_seed_same_map(generator):
    mask = ball(SHAPE, 8)
    arguments = {
        "field_sd_ppm": 0.01 * mask.float(),
        "members": 3,
    }
    inputs = inputs_of(mask.float(), mask)
    maps = [standard_deviation(l2, inputs, seed=s, **arguments) for s in (0, 0, 1)]
    assert torch.equal(maps[0], maps[1])
    assert not torch.equal(maps[0], maps[2])


def test_further_volumes_are_mirrored_with_the_field(generator):
    """A method that answers with a volume it takes shows whether it lies where the field lies."""
    mask = ball(SHAPE, 8)
    magnitude = torch.rand(SHAPE, generator=generator)

    def product(inputs):
        return inputs["field_ppm"] * inputs["magnitude"]

    inputs = {**inputs_of(magnitude * mask, mask), "magnitude": magnitude}
    assert float(standard_deviation(product, inputs).max()) < 1e-6
