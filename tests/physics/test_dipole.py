from __future__ import annotations

from itertools import product

import pytest
import torch
from properties import check_adjoint, check_linear, relative_difference

from isdu_bids.physics.dipole import (
    convolve,
    data_consistency,
    dipole_kernel,
    forward_field,
    spectrum,
)

AXIAL, OBLIQUE = (0.0, 0.0, 1.0), (0.36, 0.48, 0.8)
GRIDS = [
    ((16, 18, 20), (1.0, 1.0, 1.0), AXIAL),
    ((15, 17, 19), (1.0, 1.0, 1.0), OBLIQUE),
    ((16, 13, 22), (0.9, 0.9, 2.0), OBLIQUE),
]


@pytest.mark.parametrize(("shape", "size", "direction"), GRIDS)
def test_convolution_is_linear_and_self_adjoint(shape, size, direction, generator):
    kernel = dipole_kernel(shape, size, direction)
    a, b = torch.randn((2, *shape), generator=generator)

    def operator(x):
        return convolve(x, kernel)

    check_linear(operator, a, b, 1e-5)
    check_adjoint(operator, operator, a, b, 1e-5)  # fails if a Nyquist plane is not even


@pytest.mark.parametrize(("shape", "size", "direction"), GRIDS)
def test_kernel_is_the_mean_over_the_signs_of_nyquist_frequencies(shape, size, direction):
    """Brute force over all sign combinations; elsewhere it is the plain formula."""
    kernels = []
    for signs in product((-1, 1), repeat=3):
        axes = [
            torch.fft.fftfreq(n, d=s, dtype=torch.float64) for n, s in zip(shape, size, strict=True)
        ]
        for k, n, sign in zip(axes, shape, signs, strict=True):
            if n % 2 == 0:
                k[n // 2] = sign * k[n // 2].abs()
        grids = torch.meshgrid(*axes, indexing="ij")
        along = sum(k * d for k, d in zip(grids, direction, strict=True))
        kernels.append(1 / 3 - along**2 / sum(k**2 for k in grids))
    mean = torch.stack(kernels).mean(0)[..., : shape[2] // 2 + 1].float()
    mean[0, 0, 0] = 0
    assert torch.allclose(dipole_kernel(shape, size, direction), mean, atol=1e-6)


@pytest.mark.parametrize(("shape", "size", "direction"), GRIDS)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_mirroring_volume_and_b0_mirrors_the_field(shape, size, direction, axis, generator):
    volume = torch.randn(shape, generator=generator)
    turned = [-d if i == axis else d for i, d in enumerate(direction)]
    field = convolve(volume, dipole_kernel(shape, size, direction))
    mirrored = convolve(volume.flip(axis), dipole_kernel(shape, size, turned)).flip(axis)
    assert torch.allclose(mirrored, field, atol=1e-5)


def soft_sphere(shape, size, radius_mm):
    """Sphere with an edge one voxel wide, as a band limit leaves it, and its distances."""
    grids = torch.meshgrid(
        *((torch.arange(n) - n // 2) * s for n, s in zip(shape, size, strict=True)), indexing="ij"
    )
    distance = torch.sqrt(sum(axis**2 for axis in grids)).clamp(min=1e-6)
    return torch.sigmoid((radius_mm - distance) / (0.5 * max(size))), grids, distance


@pytest.mark.parametrize("direction", [AXIAL, OBLIQUE])
@pytest.mark.parametrize("size", [(1.0, 1.0, 1.0), (0.8, 0.8, 1.5)])
def test_field_of_a_sphere(size, direction):
    """Outside: chi/3 (r/R)^3 (3 cos^2 - 1); inside: 0 (with the Lorentz sphere)."""
    radius_mm = 8.0
    chi, grids, distance = soft_sphere([round(64 / s) for s in size], size, radius_mm)
    # the soft edge changes the volume: compare at equal moment
    moment = chi.sum() * torch.tensor(size).prod() / (4 / 3 * torch.pi * radius_mm**3)
    cosine = sum(axis * d for axis, d in zip(grids, direction, strict=True)) / distance
    analytic = moment / 3 * (radius_mm / distance) ** 3 * (3 * cosine**2 - 1)
    field = forward_field(chi, size, direction)
    around = (distance > 1.8 * radius_mm) & (distance < 26)
    # what is left is the band limit of the grid; a sharp edge would ring by 10 % for oblique B0
    assert relative_difference(field[around], analytic[around]) < 0.01
    assert field[distance < 0.5 * radius_mm].abs().max() < 0.01


def test_paramagnetic_sphere_raises_the_field_above_its_pole():
    chi = torch.zeros(32, 32, 32)
    chi[15:18, 15:18, 15:18] = 1.0
    field = forward_field(chi, (1, 1, 1), AXIAL)
    assert field[16, 16, 22] > 0 > field[22, 16, 16]


def test_forward_field_does_not_wrap_around():
    """A source near one face acts on the opposite one as if the volume had no periodic images."""
    chi, _, _ = soft_sphere((32, 32, 96), (1.0, 1.0, 1.0), 3.0)
    chi = chi[..., 40:88]  # the sphere's centre is now 8 voxels from the lower face
    field = forward_field(chi, (1, 1, 1), AXIAL)
    analytic = chi.sum() / (4 * torch.pi) * 2 / 39**3
    assert field[16, 16, 47] == pytest.approx(float(analytic), rel=0.25)


@pytest.mark.parametrize(("shape", "size", "direction"), GRIDS)
def test_data_consistency_solves_the_normal_equations(shape, size, direction, generator):
    kernel = dipole_kernel(shape, size, direction).double()
    field, prior = torch.randn((2, *shape), generator=generator, dtype=torch.float64)
    weight = 0.13
    chi = data_consistency(kernel * spectrum(field), prior, kernel, weight)
    left = convolve(convolve(chi, kernel), kernel) + weight * chi
    right = convolve(field, kernel) + weight * prior
    assert relative_difference(left, right) < 1e-12


def test_data_consistency_passes_gradients(generator):
    kernel = dipole_kernel((6, 5, 4), (1, 1, 1), OBLIQUE).double()
    field, prior = torch.randn((2, 6, 5, 4), generator=generator, dtype=torch.float64)
    weight = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    prior.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda p, w: data_consistency(kernel * spectrum(field), p, kernel, w), (prior, weight)
    )
