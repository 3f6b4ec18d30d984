"""Patches turned into other patches."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from isdu_bids.physics.dipole import convolve, dipole_kernel
from isdu_bids.simulation.patches import Patch
from isdu_bids.simulation.symmetries import SYMMETRIES, turned

SHAPE, SIZE, B0 = (8, 10, 13), (0.7, 1.0, 2.0), (0.48, -0.36, 0.8)


@pytest.fixture
def patch(generator) -> Patch:
    """A patch with three different edges, even and odd, anisotropic voxels and oblique B0."""
    chi, sd = torch.randn((2, 1, *SHAPE), generator=generator)
    mask = (torch.rand((1, *SHAPE), generator=generator) > 0.3).float()
    kernel = dipole_kernel(SHAPE, SIZE, B0)
    return Patch(convolve(chi, kernel), mask, chi, kernel, SIZE, B0, sd.exp())


def test_sixteen_different_ones(patch):
    assert len(set(SYMMETRIES)) == 16
    seen = {tuple(turned(patch, symmetry).chi_ppm.flatten().tolist()) for symmetry in SYMMETRIES}
    assert len(seen) == 16


@pytest.mark.parametrize("symmetry", SYMMETRIES)
def test_the_turned_susceptibility_has_the_turned_field(patch, symmetry):
    """Also on Nyquist planes of even axes: chi is white noise."""
    other = turned(patch, symmetry)
    assert torch.allclose(convolve(other.chi_ppm, other.kernel), other.field_ppm, atol=1e-6)
    if symmetry != ((0, 1, 2), ()):
        again = convolve(other.chi_ppm, dipole_kernel(other.chi_ppm.shape[1:], SIZE, B0))
        b0_stays = symmetry == ((0, 1, 2), (0, 1, 2))  # the dipole does not know B0's sign
        assert torch.allclose(again, other.field_ppm, atol=1e-3) == b0_stays


@pytest.mark.parametrize("symmetry", SYMMETRIES)
def test_volumes_and_geometry_go_together(patch, symmetry):
    """A coordinate that is painted into every volume ends where the geometry says."""
    axes, mirrored = symmetry
    z = torch.arange(SHAPE[2]).expand(SHAPE)[None].float()
    other = turned(replace(patch, field_ppm=z, mask=z, chi_ppm=z, field_sd_ppm=z), symmetry)
    for volume in (other.field_ppm, other.mask, other.chi_ppm, other.field_sd_ppm):
        rises = volume[0, 0, 0, -1] > volume[0, 0, 0, 0]
        assert rises == (2 not in mirrored)
        assert volume.shape[1:] == tuple(SHAPE[axis] for axis in axes)
    assert other.voxel_size_mm == tuple(SIZE[axis] for axis in axes)
    assert tuple(map(abs, other.b0_direction)) == tuple(abs(B0[axis]) for axis in axes)
    assert turned(patch, ((0, 1, 2), ())).b0_direction == B0
    plain = turned(replace(patch, field_sd_ppm=None), symmetry)
    assert plain.field_sd_ppm is None
