from __future__ import annotations

import numpy as np
import pytest
import torch
from faults import fault
from properties import ball, relative_difference
from test_unrolled import small_network, susceptibility

from isdu_bids.errors import DataError, UsageError
from isdu_bids.networks import inference
from isdu_bids.networks.grids import isotropic_grid
from isdu_bids.networks.inference import auto_grid
from isdu_bids.networks.weights import Weights
from isdu_bids.physics.device import cpu_has_bfloat16, run_on
from isdu_bids.physics.dipole import dipole_kernel

AXIAL = {"voxel_size_mm": (1.0, 1.0, 1.0), "b0_direction": (0.0, 0.0, 1.0)}


def weights(trained_at_mm: float | None = None, **changes) -> Weights:
    return Weights("small", small_network(**changes), "", "", trained_at_mm)


def scene(shape=(22, 20, 24), radius=7.0):
    generator = torch.Generator().manual_seed(2)
    mask = ball(shape, radius)
    return 0.01 * torch.randn(shape, generator=generator) * mask, mask


@pytest.mark.parametrize("changes", [{}, {"shared": True, "channels": 1}, {"denoiser": "simple"}])
def test_whole_volume_is_the_plain_forward_pass(changes):
    """Float32 rounding only: what published checkpoints computed, edges included."""
    net = weights(**({"depth": None} if "denoiser" in changes else {}), **changes)
    field, mask = scene()
    chi = susceptibility(field, mask, weights=net, crop=False, **AXIAL)
    kernel = dipole_kernel(field.shape, dc_value=net.network.architecture.dc_value, **AXIAL)
    with torch.inference_mode():
        plain = net.network(field[None, None], mask[None, None].float(), kernel)[0, 0]
    assert torch.allclose(chi, plain, atol=1e-7)


def test_cropped_and_padded_volumes_agree():
    """The crop is chosen from the mask alone, so empty space around it has no say."""
    net = weights()
    field, mask = scene()
    wide_field, wide_mask = torch.zeros(50, 47, 61), torch.zeros(50, 47, 61, dtype=torch.bool)
    wide_field[9:31, 20:40, 30:54], wide_mask[9:31, 20:40, 30:54] = field, mask
    chi = susceptibility(field, mask, weights=net, **AXIAL)
    wide = susceptibility(wide_field, wide_mask, weights=net, **AXIAL)
    assert torch.allclose(wide[9:31, 20:40, 30:54], chi, atol=1e-7)


def test_unets_run_on_any_size():
    net = weights(denoiser="unet-mini", depth=None, features=4)
    field, mask = scene((21, 19, 23))
    chi = susceptibility(field, mask, weights=net, **AXIAL)
    assert torch.isfinite(chi).all()
    assert chi[mask].std() > 0


NOISE_AWARE = {
    "denoiser": "multiscale", "depth": None, "features": 4,
    "noise_input": True, "solve_first": True,
    "masked_prior": True,
}  # fmt: skip


def test_noise_aware_networks_see_the_same_noise_in_boxes_and_in_whole_volumes():
    """Whole volumes are the plain forward pass; crops do not depend on empty space around them."""
    net, sd = weights(**NOISE_AWARE), 0.002
    field, mask = scene()
    kernel = dipole_kernel(field.shape, dc_value=net.network.architecture.dc_value, **AXIAL)
    with torch.inference_mode():
        volumes = (field[None, None], mask[None, None].float(), kernel)
        plain = net.network(*volumes, torch.full_like(field, sd)[None, None])[0, 0]
    told = {"weights": net, "field_sd_ppm": sd, "model_error_ppm": 0.0}
    whole = susceptibility(field, mask, crop=False, **told, **AXIAL)
    assert torch.allclose(whole, plain, atol=1e-7)
    wide_field, wide_mask = torch.zeros(50, 47, 61), torch.zeros(50, 47, 61, dtype=torch.bool)
    wide_field[9:31, 20:40, 30:54], wide_mask[9:31, 20:40, 30:54] = field, mask
    chi = susceptibility(field, mask, **told, **AXIAL)
    wide = susceptibility(wide_field, wide_mask, **told, **AXIAL)
    assert torch.allclose(wide[9:31, 20:40, 30:54], chi, atol=1e-7)


def test_noise_matters_to_networks_that_see_it():
    field, mask = scene()
    loaded = weights(**NOISE_AWARE)
    quiet, loud = (
        susceptibility(field, mask, weights=loaded, field_sd_ppm=sd, model_error_ppm=0.0, **AXIAL)
        for sd in (0.001, 0.01)
    )
    assert relative_difference(quiet, loud) > 0.05
    sd_map = torch.full_like(field, 0.001)
    as_map = susceptibility(
        field, mask, weights=loaded, field_sd_ppm=sd_map, model_error_ppm=0.0, **AXIAL
    )
    assert torch.equal(quiet, as_map)


@pytest.mark.skipif(not cpu_has_bfloat16(), reason="this processor has no bfloat16")
def test_half_precision_is_close():
    """Three digits of bfloat16 leave a few per cent in a random network, far less in trained ones
    (benchmarks/inference.py)."""
    field, mask = scene()
    single = susceptibility(field, mask, weights=weights(), **AXIAL)
    half = susceptibility(field, mask, weights=weights(), precision="half", **AXIAL)
    assert 0 < relative_difference(half[mask], single[mask]) < 0.03


@fault("--precision half on a processor without bfloat16", "single precision; told", 0)
def test_half_precision_falls_back_to_single(monkeypatch):
    monkeypatch.setattr(inference, "cpu_has_bfloat16", lambda: False)
    field, mask = scene()
    half, device = run_on(
        "cpu", lambda _: susceptibility(field, mask, weights=weights(), precision="half", **AXIAL)
    )
    assert torch.isfinite(half).all()
    assert "single precision" in device


def test_a_field_with_nan_is_refused():
    field, mask = scene()
    field[11, 10, 12] = np.nan
    with pytest.raises(DataError, match="1 voxels inside the mask"):
        susceptibility(field, mask, weights=weights(), **AXIAL)


def test_nan_outside_the_mask_is_nobodys_business():
    field, mask = scene()
    dirty = torch.where(mask, field, torch.nan)
    clean = susceptibility(field, mask, weights=weights(), **AXIAL)
    assert torch.equal(susceptibility(dirty, mask, weights=weights(), **AXIAL), clean)


@pytest.mark.parametrize("option", [{"grid": "scanner"}, {"precision": "double"}])
def test_unknown_options_are_named(option):
    field, mask = scene()
    with pytest.raises(UsageError, match="is unknown; known are"):
        susceptibility(field, mask, weights=weights(), **AXIAL, **option)


@pytest.mark.parametrize(
    ("size", "direction", "expected"),
    [
        ((1.0, 1.0, 1.0), (0.0, 0.0, 1.0), "native"),
        ((1.0, 1.0, 1.0), (0.0, 0.0, -1.0), "native"),
        ((2.0, 2.0, 2.0), (0.0, 0.1, 0.99**0.5), "native"),
        ((0.9, 0.9, 2.0), (0.0, 0.0, 1.0), "resampled"),
        ((2.0, 0.9, 0.9), (1.0, 0.0, 0.0), "resampled"),
        ((1.0, 1.0, 1.0), (0.0, 0.5, 0.75**0.5), "aligned"),
    ],
)
def test_default_grid(size, direction, expected):
    assert auto_grid(weights(trained_at_mm=1.0), size, direction) == expected
    assert auto_grid(weights(), size, direction) == "native"


@pytest.mark.parametrize("axis", [0, 1])
def test_sagittal_and_coronal_volumes_are_axial_ones_with_other_axes(axis):
    field, mask = scene()
    axial = susceptibility(
        field, mask, weights=weights(), voxel_size_mm=(1, 1, 2), b0_direction=(0, 0.1, 0.9)
    )
    size, direction = [1, 1, 2], [0, 0.1, 0.9]
    for triple in (size, direction):
        triple[axis], triple[2] = triple[2], triple[axis]
    turned = susceptibility(
        field.transpose(axis, 2),
        mask.transpose(axis, 2),
        weights=weights(),
        voxel_size_mm=size,
        b0_direction=direction,
    )
    assert torch.equal(turned.transpose(axis, 2), axial)


def smooth(points_mm):
    x, y, z = np.moveaxis(points_mm, -1, 0)
    return np.cos(0.25 * x) + np.sin(0.2 * y + 0.3) + np.cos(0.22 * z - 0.1)


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("direction", [(0.0, 0.0, 1.0), (0.48, 0.36, 0.8), (0.0, 1.0, 0.0)])
def test_grid_there_and_back(direction, aligned):
    """A smooth function survives to 2 % both ways, up to the mask's edge."""
    size = np.array([0.9, 0.8, 1.6])
    mask = ball((40, 44, 24), 17).numpy() & (np.arange(24) > 3)
    points = np.stack(np.meshgrid(*map(np.arange, mask.shape), indexing="ij"), -1) * size
    volume = smooth(points).astype(np.float32)
    grid = isotropic_grid(mask, size, direction, 1.0, aligned=aligned)
    pulled, inside = grid.pull(volume, mask)
    where = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), -1)
    expected = smooth((where @ grid.matrix.T + grid.offset) * size)
    # the new mask may reach half a native voxel (0.8 mm) further, where the slope is 0.3 per mm
    assert np.abs(pulled - expected)[inside].max() < 0.25
    assert np.abs(pulled - expected)[inside].mean() < 0.02
    assert inside.sum() == pytest.approx(mask.sum() * size.prod(), rel=0.02)
    back = grid.push(pulled, inside, mask)
    assert np.abs(back - volume)[mask].mean() < 0.02
    assert np.all(back[~mask] == 0)
    assert np.linalg.norm(grid.b0_direction) == pytest.approx(1)
    assert (abs(grid.b0_direction[2]) == pytest.approx(1)) or not aligned


def test_other_grids_carry_geometry_through():
    """A plain physical check: chi of a resampled run correlates with that of the native one."""
    net = weights()
    field, mask = scene((30, 30, 30), 11)
    axis = torch.linspace(-1, 1, 30)
    field = mask * 0.01 * (axis[:, None, None] * axis[None, :, None] + axis.square()).float()
    geometry = {"voxel_size_mm": (1.0, 1.0, 1.3), "b0_direction": (0.0, 0.6, 0.8)}
    native = susceptibility(field, mask, weights=net, grid="native", **geometry)
    resampled = susceptibility(field, mask, weights=net, grid="resampled", **geometry)
    assert np.corrcoef(native[mask], resampled[mask])[0, 1] > 0.95
    assert torch.all(resampled[~mask] == 0)


@pytest.mark.gpu
@pytest.mark.parametrize("changes", [{}, {"denoiser": "unet-mini", "depth": None}])
def test_gpu_equals_cpu(changes):
    """Float32 without TF32 on both: rounding of another order of additions."""
    field, mask = scene()
    on_cpu = susceptibility(field, mask, weights=weights(**changes), **AXIAL)
    on_gpu = susceptibility(field.cuda(), mask.cuda(), weights=weights(**changes), **AXIAL).cpu()
    assert relative_difference(on_gpu, on_cpu) <= 1e-4


@pytest.mark.gpu
def test_gpu_results_repeat_bit_for_bit():
    field, mask = scene()
    results = [
        susceptibility(field.cuda(), mask.cuda(), weights=weights(), **AXIAL) for _ in range(2)
    ]
    assert torch.equal(*results)
