"""Spherical means: exact on harmonic fields, exact where a sphere fits."""

from __future__ import annotations

import pytest
import torch
from properties import ball
from scipy import ndimage

from isdu_bids.physics.dipole import convolve
from isdu_bids.physics.sphere import depth_mm, fits, kernel_spectrum, neighbours, sphere

SIZES = pytest.mark.parametrize("size_mm", [(1.0, 1.0, 1.0), (2.0, 2.0, 2.0), (0.8, 1.0, 2.4)])


def second_moments_mm2(kernel, size_mm):
    moments = []
    for axis, size in enumerate(size_mm):
        positions = (torch.arange(kernel.shape[axis]) - kernel.shape[axis] // 2) * size
        others = tuple(other for other in range(3) if other != axis)
        moments.append(float((kernel.sum(others) * positions**2).sum()))
    return moments


@SIZES
@pytest.mark.parametrize("radius_mm", [2.4, 5.0, 12.0])
def test_sphere_is_a_mean(size_mm, radius_mm):
    kernel = sphere(size_mm, radius_mm)
    assert float(kernel.sum()) == pytest.approx(1.0, abs=1e-6)
    assert torch.equal(kernel, kernel.flip((0, 1, 2)))
    assert (kernel >= 0).all()


@SIZES
def test_neighbours_are_exact_on_quadratic_harmonics(size_mm):
    x, y, z = second_moments_mm2(neighbours(size_mm), size_mm)
    assert x == pytest.approx(y, rel=1e-5) == pytest.approx(z, rel=1e-5)


@SIZES
def test_depth_is_the_euclidean_distance_transform(size_mm):
    mask = ball((17, 15, 19), 7.0)
    mask[3:5, 8, 9] = False
    depth = depth_mm(mask, size_mm, 6.0)
    expected = torch.from_numpy(ndimage.distance_transform_edt(mask, sampling=size_mm)).float()
    near = expected <= 6.0
    assert torch.allclose(depth[near], expected[near], atol=1e-5)
    assert (depth[~near] > 6.0).all()


@SIZES
@pytest.mark.parametrize("scale", [1.0, 1 + 2e-7, 1 - 2e-7])
def test_sphere_fits_where_it_holds_nothing_outside(size_mm, scale):
    """Headers hold voxel sizes as float32: the last bit must not let a sphere reach outside."""
    size_mm = [size * scale for size in size_mm]
    mask = ball((24, 24, 24), 9.0)
    kernel = sphere(size_mm, 4.0)
    share = convolve(mask.float(), kernel_spectrum(kernel, mask.shape))
    inside = share > 1 - float(kernel[kernel > 0].min()) / 2
    assert torch.equal(fits(depth_mm(mask, size_mm, 4.0), 4.0), inside)


@SIZES
@pytest.mark.parametrize("shape", [(20, 24, 30), (21, 25, 27)])
def test_kernel_spectrum_is_the_transform_of_the_kernel_on_the_grid(size_mm, shape):
    kernel = sphere(size_mm, 5.0)
    grid = torch.zeros(shape)
    grid[tuple(slice(0, n) for n in kernel.shape)] = kernel
    grid = torch.roll(grid, [-(n // 2) for n in kernel.shape], dims=(0, 1, 2))
    expected = torch.fft.rfftn(grid.double())
    assert torch.allclose(kernel_spectrum(kernel, shape).double(), expected.real, atol=2e-6)
    assert expected.imag.abs().max() < 1e-6


def test_volume_edge_counts_as_outside():
    depth = depth_mm(torch.ones(9, 9, 9, dtype=torch.bool), (1.0, 1.0, 1.0), 3.0)
    assert float(depth[0, 4, 4]) == 1.0
    assert float(depth[4, 4, 2]) == 3.0
