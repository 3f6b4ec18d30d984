"""What every background field removal must do: the registry drives the tests."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from properties import ball, check_linear, relative_difference
from scipy import ndimage

from isdu_bids.background import BACKGROUND
from isdu_bids.errors import DataError
from isdu_bids.geometry import unit_vector
from isdu_bids.physics.dipole import convolve
from isdu_bids.physics.sphere import kernel_spectrum, neighbours, sphere

B0 = unit_vector((0.2, -0.1, 1.0))
METHODS = pytest.mark.parametrize("name", list(BACKGROUND))
#: jdf weighs misfits against noise in ppm, so that it is neither linear nor blind to scale.
LINEAR = [name for name, method in BACKGROUND.items() if method.linear]
#: Where iterations stop depends on the last digits; PDF, ill-conditioned, feels it most.
STOPPING = {"pdf": 0.1}


def sphere_field(shape, size_mm, centre_mm, radius_mm, chi_ppm, b0_direction):
    """Analytic field of a sphere; positions in mm from the middle of the grid."""
    axes = [(torch.arange(n) - (n - 1) / 2) * mm for n, mm in zip(shape, size_mm, strict=True)]
    offsets = torch.stack(torch.meshgrid(*axes, indexing="ij")) - torch.tensor(centre_mm).reshape(
        3, 1, 1, 1
    )
    distance = offsets.norm(dim=0).clamp(min=1e-3)
    cosine = torch.einsum("i...,i->...", offsets, torch.tensor(b0_direction)) / distance
    outside = chi_ppm / 3 * (radius_mm / distance) ** 3 * (3 * cosine**2 - 1)
    return torch.where(distance > radius_mm, outside, 0.0)


def ellipsoid(shape, size_mm, radii_mm):
    axes = [
        (torch.arange(n) - (n - 1) / 2) * mm / radius
        for n, mm, radius in zip(shape, size_mm, radii_mm, strict=True)
    ]
    x, y, z = torch.meshgrid(*axes, indexing="ij")
    return x**2 + y**2 + z**2 <= 1


def head(shape=(40, 44, 36), size_mm=(2.0, 2.0, 2.0), b0_direction=B0):
    """Mask, background of two air spheres outside, local field of two spheres inside."""
    mask = ellipsoid(shape, size_mm, (32.0, 36.0, 30.0))
    outside = [((0.0, 46.0, -8.0), 8.0, 9.4), ((44.0, -6.0, 10.0), 8.0, -9.4)]
    inside = [((5.0, -4.0, 3.0), 5.0, 0.3), ((-8.0, 6.0, -6.0), 6.0, -0.2)]
    background, local = (
        sum(sphere_field(shape, size_mm, *sphere, b0_direction) for sphere in spheres)
        for spheres in (outside, inside)
    )
    return mask, background, local


def remove(name, field, mask, *, size_mm=(2.0, 2.0, 2.0), b0_direction=B0, sd=None, **parameters):
    inputs = {
        "field_ppm": field,
        "mask": mask,
        "voxel_size_mm": size_mm,
        "b0_direction": b0_direction,
        "field_sd_ppm": sd,
    }
    return BACKGROUND[name].run(inputs, **parameters)


def demeaned(field, mask):
    return field[mask] - field[mask].mean()


@METHODS
@pytest.mark.parametrize("size_mm", [(2.0, 2.0, 2.0), (1.5, 2.0, 3.0)])
def test_field_of_outside_sources_vanishes(name, size_mm):
    shape = tuple(round(n * 2 / mm) for n, mm in zip((40, 44, 36), size_mm, strict=True))
    mask, background, _ = head(shape, size_mm)
    result = remove(name, background, mask, size_mm=size_mm)
    left = demeaned(result.field_ppm, result.mask)
    assert left.norm() < 0.05 * demeaned(background, result.mask).norm()


@METHODS
def test_field_of_inside_sources_survives(name):
    mask, background, local = head()
    result = remove(name, background + local, mask)
    found, truth = (demeaned(field, result.mask) for field in (result.field_ppm, local))
    slope = float(found @ truth / (truth @ truth))
    assert float(torch.corrcoef(torch.stack([found, truth]))[0, 1]) > 0.9
    assert 0.75 < slope < 1.1


@METHODS
def test_result_lives_inside_the_mask_and_ignores_what_is_outside(name):
    mask, background, local = head()
    result = remove(name, background + local, mask)
    assert result.field_ppm.dtype == torch.float32
    assert result.mask.dtype == torch.bool
    assert not (result.mask & ~mask).any()
    assert result.mask.sum() > 0.3 * mask.sum()
    assert (result.field_ppm[~result.mask] == 0).all()
    garbage = torch.where(mask, background + local, torch.nan)
    assert relative_difference(remove(name, garbage, mask).field_ppm, result.field_ppm) < 1e-6


@METHODS
def test_position_of_the_mask_in_the_volume_does_not_matter(name):
    mask, background, local = head()
    field = torch.where(mask, background + local, 0.0)
    pad = (3, 9, 0, 5, 7, 2)
    result = remove(name, field, mask)
    padded = remove(name, *(torch.nn.functional.pad(v, pad) for v in (field, mask)))
    inner = padded.field_ppm[7:-2, :-5, 3:-9]
    assert relative_difference(inner, result.field_ppm) < 1e-5
    assert padded.mask.sum() == result.mask.sum()


@METHODS
def test_rotating_the_grid_by_a_right_angle_rotates_the_result(name):
    mask, background, local = head(size_mm=(2.0, 2.0, 3.0))
    field = background + local
    result = remove(name, field, mask, size_mm=(2.0, 2.0, 3.0))
    turned = remove(
        name,
        field.permute(2, 0, 1).flip(1),
        mask.permute(2, 0, 1).flip(1),
        size_mm=(3.0, 2.0, 2.0),
        b0_direction=(B0[2], -B0[0], B0[1]),
    )
    back = turned.field_ppm.flip(1).permute(1, 2, 0)
    valid = result.mask
    assert torch.equal(turned.mask.flip(1).permute(1, 2, 0), valid)
    # PDF stops its conjugate gradients early: noise of 1e-6 in its input changes the result by 1 %
    tolerance = 0.03 if name == "pdf" else 0.01
    assert relative_difference(demeaned(back, valid), demeaned(result.field_ppm, valid)) < tolerance


@METHODS
def test_same_answer_on_a_coarser_grid(name):
    fine_size, coarse_size = (1.5,) * 3, (3.0,) * 3
    mask, background, local = head((48, 56, 48), fine_size)
    fine = remove(name, background + local, mask, size_mm=fine_size)
    coarse_mask = torch.nn.functional.avg_pool3d(mask[None].float(), 2)[0] > 0.99
    pooled = [
        torch.nn.functional.avg_pool3d(volume[None].float(), 2)[0]
        for volume in (background + local, fine.field_ppm, fine.mask)
    ]
    coarse = remove(name, pooled[0], coarse_mask, size_mm=coarse_size)
    both = coarse.mask & (pooled[2] > 0.99)
    difference = demeaned(coarse.field_ppm, both) - demeaned(pooled[1], both)
    assert difference.norm() < 0.3 * demeaned(pooled[1], both).norm()


@pytest.mark.parametrize("name", LINEAR)
def test_linear_in_the_field(name):
    mask, background, local = head()
    tolerance = 1e-4 if name in {"sharp", "vsharp"} else STOPPING.get(name, 0.03)
    check_linear(lambda f: remove(name, f, mask).field_ppm, background, local, tolerance)


@pytest.mark.parametrize("name", LINEAR)
def test_scale_of_the_field_does_not_matter(name):
    mask, background, local = head()
    field = background + local
    result = remove(name, field, mask).field_ppm
    assert relative_difference(remove(name, 0.01 * field, mask).field_ppm, 0.01 * result) < 1e-3


@METHODS
def test_constant_is_background(name):
    mask, background, local = head()
    field = background + local
    result = remove(name, field, mask).field_ppm
    assert relative_difference(remove(name, field + 3.0, mask).field_ppm, result) < 0.02


@METHODS
def test_direction_of_b0_has_no_sign(name):
    mask, background, local = head()
    field = background + local
    result = remove(name, field, mask).field_ppm
    opposite = remove(name, field, mask, b0_direction=tuple(-b for b in B0)).field_ppm
    assert relative_difference(opposite, result) < 1e-5


@METHODS
def test_errors_name_the_problem(name):
    mask, background, _ = head()
    with pytest.raises(DataError, match="mask is empty"):
        remove(name, background, torch.zeros_like(mask))
    with pytest.raises(DataError, match="one 3D grid"):
        remove(name, background[1:], mask)
    with pytest.raises(DataError, match="not finite"):
        remove(name, torch.where(ball(mask.shape, 1.0), torch.nan, background), mask)


@METHODS
@pytest.mark.gpu
def test_cuda_agrees_with_cpu(name):
    mask, background, local = head()
    cpu = remove(name, background + local, mask)
    cuda = remove(name, (background + local).cuda(), mask.cuda())
    assert torch.equal(cuda.mask.cpu(), cpu.mask)
    assert relative_difference(cuda.field_ppm.cpu(), cpu.field_ppm) < 1e-4


def test_wrong_b0_direction_is_felt_by_dipole_methods():
    mask, background, _ = head(b0_direction=(0.0, 0.0, 1.0))
    right, wrong = (
        remove("pdf", background, mask, b0_direction=direction, iterations=8).field_ppm
        for direction in ((0.0, 0.0, 1.0), (1.0, 0.0, 0.0))
    )
    assert right.norm() < wrong.norm()


@pytest.mark.parametrize("name", ["sharp", "vsharp", "resharp", "ismv", "lbv", "jdf"])
def test_mask_too_thin_for_any_sphere(name):
    mask = torch.zeros(16, 16, 16, dtype=torch.bool)
    mask[4:12, 4:12, 8] = True
    with pytest.raises(DataError, match="mask"):
        remove(name, torch.zeros(16, 16, 16), mask)


def test_vsharp_against_a_plain_version_in_space(generator):
    """Means and erosion in space, deconvolution on a wider grid."""
    field = torch.randn((24, 24, 24), generator=generator)
    mask = ball((24, 24, 24), 9.0)
    radii = (4.0, 2.0, 1.0)
    result = remove("vsharp", field, mask, size_mm=(1.0,) * 3, radii_mm=radii)
    values = torch.where(mask, field - field[mask].mean(), 0.0).numpy()
    remainder, left = np.zeros(mask.shape), mask.numpy()
    for radius in radii:
        kernel = sphere((1.0,) * 3, radius).numpy()
        ring = left & ndimage.binary_erosion(mask, kernel > 0)
        remainder[ring] = (values - ndimage.convolve(values, kernel, mode="constant"))[ring]
        left = left & ~ring
    grid = (48, 48, 48)
    high_pass = 1 - kernel_spectrum(sphere((1.0,) * 3, radii[0]), grid).numpy()
    inverse = np.where(high_pass > 0.05, 1 / np.maximum(high_pass, 1e-9), 0)
    spectrum = np.fft.rfftn(remainder, grid, axes=(0, 1, 2)) * inverse
    expected = torch.from_numpy(
        np.fft.irfftn(spectrum, grid, axes=(0, 1, 2))[:24, :24, :24]
    ).float()
    assert torch.equal(result.mask, mask & ~torch.from_numpy(left))
    assert relative_difference(result.field_ppm[result.mask], expected[result.mask]) < 0.02


def test_ismv_reaches_the_fixed_point_of_the_published_iteration():
    mask, background, local = head()
    total = torch.where(mask, background + local, 0.0)
    result = remove("ismv", total, mask, radius_mm=6.0, tolerance=1e-5, iterations=100)
    spectrum = kernel_spectrum(sphere((2.0,) * 3, 6.0), mask.shape)
    harmonic = total
    for _ in range(400):
        harmonic = torch.where(result.mask, convolve(harmonic, spectrum), harmonic)
    assert relative_difference(result.field_ppm, (total - harmonic) * result.mask) < 0.01


def test_lbv_leaves_a_discrete_harmonic_field_out():
    mask, background, local = head()
    total = torch.where(mask, background + local, 0.0)
    result = remove("lbv", total, mask, peel=0, tolerance=1e-5)
    taken = (total - result.field_ppm).numpy()
    laplacian = taken - ndimage.convolve(taken, neighbours((2.0,) * 3).numpy())
    assert np.abs(laplacian[result.mask.numpy()]).max() < 1e-4 * float(total.abs().max())


def spoiled(field, mask, generator):
    """One voxel in a hundred off by a wrap."""
    bad = mask & (torch.rand(mask.shape, generator=generator) < 0.01)
    return torch.where(bad, field + 0.4, field), bad


def test_marked_voxels_do_not_disturb_pdf(generator):
    mask, background, local = head()
    clean = remove("pdf", background + local, mask).field_ppm
    total, bad = spoiled(background + local, mask, generator)
    good = mask & ~bad
    sd = torch.where(bad, 10.0, 0.01)
    marked = remove("pdf", total, mask, sd=sd).field_ppm
    unmarked = remove("pdf", total, mask).field_ppm
    assert relative_difference(demeaned(marked, good), demeaned(clean, good)) < 0.2
    assert relative_difference(demeaned(unmarked, good), demeaned(clean, good)) > 0.4


def test_unmarked_outliers_stay_in_their_place(generator):
    mask, background, local = head()
    clean = remove("jdf", background + local, mask).field_ppm
    total, bad = spoiled(background + local, mask, generator)
    good = mask & ~bad
    found, naive = (remove("jdf", total, mask, passes=n).field_ppm for n in (3, 1))
    assert (found - clean)[good].norm() < 0.5 * (naive - clean)[good].norm()


def test_default_fills_marked_voxels_in(generator):
    mask, background, local = head()
    total, bad = spoiled(background + local, mask, generator)
    found = remove("jdf", total, mask, sd=torch.where(bad, 10.0, 0.001)).field_ppm
    assert (found - local)[bad].abs().median() < 0.01


def test_default_keeps_a_strong_small_source():
    """A bleed is no smooth Gaussian tissue: it must survive its unlikeliness."""
    mask, background, local = head()
    bleed = sphere_field(mask.shape, (2.0,) * 3, (4.0, 10.0, 5.0), 3.5, 2.0, B0)
    with_bleed, without = (
        remove("jdf", background + local + extra, mask).field_ppm for extra in (bleed, 0 * bleed)
    )
    core = bleed.abs() > 0.1
    assert relative_difference((with_bleed - without)[core], bleed[core]) < 0.15
