from __future__ import annotations

import numpy as np
import pytest
import torch
from properties import ball, check_linear, relative_difference

from isdu_bids.errors import DataError
from isdu_bids.inversion.referencing import csf_region, reference
from isdu_bids.inversion.registry import INVERSION, SCALARS, VOLUMES
from isdu_bids.inversion.result import Inverted
from isdu_bids.inversion.two_pass import merge_passes
from isdu_bids.physics.dipole import forward_field

LINEAR = [name for name, method in INVERSION.items() if method.linear]
GEOMETRIES = [
    ((40, 42, 44), (1.0, 1.0, 1.0), (0.0, 0.0, 1.0)),
    ((41, 43, 25), (1.0, 1.0, 1.6), (0.0, 0.6, 0.8)),
]


def inverted(name, field, mask, size, direction):
    """Susceptibility by a method, given everything that any method may ask for."""
    inputs = {
        "field_ppm": field,
        "total_field_ppm": field,
        "mask": mask,
        "magnitude": mask.float(),
        "field_sd_ppm": torch.full_like(field, 1e-3),
        "r2star_per_s": torch.full_like(field, 20.0),
        "voxel_size_mm": size,
        "b0_direction": direction,
        "field_strength_t": 3.0,
        "echo_times_s": (0.01, 0.02, 0.03),
    }
    assert set(inputs) == {*VOLUMES, *SCALARS}
    return Inverted.of(INVERSION[name].run(inputs)).chi_ppm


def smooth_chi(shape, size, generator):
    """Blobs of 0.1 ppm, 3 to 5 mm wide, inside a ball."""
    grids = torch.meshgrid(
        *((torch.arange(n) - n / 2) * s for n, s in zip(shape, size, strict=True)), indexing="ij"
    )
    chi = torch.zeros(shape)
    for _ in range(12):
        centre = torch.rand(3, generator=generator) * 16 - 8
        width = 3 + 2 * torch.rand(1, generator=generator)
        distance = sum((axis - c) ** 2 for axis, c in zip(grids, centre, strict=True))
        chi += 0.1 * torch.randn(1, generator=generator) * torch.exp(-distance / (2 * width**2))
    return chi


@pytest.mark.parametrize("name", list(INVERSION))
@pytest.mark.parametrize(("shape", "size", "direction"), GEOMETRIES)
def test_known_susceptibility_comes_back(name, shape, size, direction, generator):
    """Noise-free field of smooth sources, at any orientation and voxel size.

    The direct methods lose what lies on the zero cone (30 to 50 % of these sources); the network
    is trained on brains, not on blobs, and must only have the right sign and order of magnitude.
    Where sources outside may exist, they explain a part of such smooth fields.
    """
    chi = smooth_chi(shape, size, generator)
    mask = ball(shape, 20 / max(size))
    chi = torch.where(mask, chi, 0.0)
    field = forward_field(chi, size, direction)
    result = inverted(name, field, mask, size, direction)
    truth, estimate = (volume[mask] - volume[mask].mean() for volume in (chi, result))
    error = float((estimate - truth).norm() / truth.norm())
    slope = float(estimate @ truth / (truth @ truth))
    assert torch.all(result[~mask] == 0)
    assert error < {"isdu": 0.75, "tfi": 0.8, "tsvd": 0.6}.get(name, 0.5)
    assert 0.3 < slope < 1.3


@pytest.mark.parametrize("name", LINEAR)
def test_direct_inversions_are_linear(name, generator):
    mask = ball((20, 20, 20), 8)
    a, b = torch.randn((2, 20, 20, 20), generator=generator)

    def operator(field):
        return inverted(name, field, mask, (1, 1, 1), (0, 0, 1))

    check_linear(operator, a, b, 1e-5)


@pytest.mark.parametrize("name", list(INVERSION))
def test_what_lies_outside_the_mask_does_not_matter(name, generator):
    mask = ball((20, 20, 20), 8)
    field = torch.randn((20, 20, 20), generator=generator)
    clean, dirty = (torch.where(mask, field, outside) for outside in (0.0, torch.nan))
    maps = [inverted(name, given, mask, (2, 2, 2), (0, 0, 1)) for given in (clean, dirty)]
    assert torch.equal(*maps)


@pytest.mark.parametrize("axes", [(0, 1), (0, 2), (1, 2)])
@pytest.mark.parametrize("name", list(INVERSION))
def test_turning_the_axes_turns_the_map(name, axes, generator):
    """Swapping two axes of field, voxel size and B0 swaps them in the result."""
    mask = ball((22, 18, 26), 8)
    noise = torch.randn((1, 1, 22, 18, 26), generator=generator)
    field = 0.01 * torch.nn.functional.avg_pool3d(noise, 3, 1, 1)[0, 0]

    def turned(order):
        chi = inverted(
            name,
            field.permute(order).contiguous(),
            mask.permute(order).contiguous(),
            [(2.0, 2.4, 3.0)[axis] for axis in order],
            [(0.0, 0.6, 0.8)[axis] for axis in order],
        )
        return chi.permute(order)  # a swap undoes itself

    order = [0, 1, 2]
    order[axes[0]], order[axes[1]] = axes[1], axes[0]
    # The network turns B0 to its last axis, but trained convolutions tell the other two
    # apart, most where there is nothing but noise: 0.20 with isdu_ms3.
    # Rounding grows in iterations, and may decide whether a step is the last.
    rounding = 2e-2 if "iterations" in INVERSION[name].defaults else 1e-5
    tolerance = 0.25 if name == "isdu" and axes == (0, 1) else rounding
    assert relative_difference(turned(order), turned([0, 1, 2])) < tolerance


def test_reference_sets_the_mean_of_its_region_to_zero():
    rng = np.random.default_rng(0)
    chi = rng.normal(0.3, 0.05, (10, 10, 10)).astype(np.float32)
    mask = chi > 0
    mask[:2] = False
    region = mask.copy()
    region[5:] = False
    result = reference(chi, mask, region, "a part")
    assert abs(result.chi_ppm[region].mean()) < 1e-6
    assert not result.chi_ppm[~mask].any()
    assert result.offset_ppm == pytest.approx(chi[region].mean(), abs=1e-6)
    assert result.n_voxels == region.sum()


def test_empty_reference_is_refused():
    mask = np.ones((3, 3, 3), bool)
    with pytest.raises(DataError, match="'nothing' is empty"):
        reference(np.zeros((3, 3, 3), np.float32), mask, ~mask, "nothing")


def test_csf_is_found_in_the_middle_only():
    mask = ball((40, 40, 40), 18).numpy()
    r2star = np.full((40, 40, 40), 18.0, np.float32)
    r2star[17:23, 14:26, 19:24] = 1.5  # ventricle, 0.36 ml at 1 mm, 2.9 ml at 2 mm
    r2star[3:6] = 1.5  # fluid at the rim
    region = csf_region(r2star, mask, (2.0, 2.0, 2.0))
    assert region[20, 20, 21]
    assert not region[:8].any()
    with pytest.raises(DataError, match="whole-mask"):
        csf_region(r2star, mask, (1.0, 1.0, 1.0))


def test_two_passes_keep_the_first_and_fill_in_the_second():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(8, 8, 8)).astype(np.float32)
    inner = np.zeros((8, 8, 8), bool)
    inner[2:6, 2:6, 2:6] = True
    whole = np.zeros_like(inner)
    whole[1:7, 1:7, 1:7] = True
    merged, mask = merge_passes(truth * inner, inner, (truth + 5) * whole, whole)
    assert np.array_equal(mask, whole)
    np.testing.assert_allclose(merged[whole], truth[whole], atol=1e-5)
    assert not merged[~whole].any()
    with pytest.raises(DataError, match="two-pass"):
        merge_passes(truth, inner, truth, ~whole)
