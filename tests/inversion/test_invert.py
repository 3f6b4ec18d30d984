from __future__ import annotations

import numpy as np
import pytest
import torch
from properties import ball, relative_difference

import isdu_bids
from isdu_bids.errors import DataError, UsageError
from isdu_bids.inversion.invert import invert
from isdu_bids.inversion.registry import INVERSION
from isdu_bids.physics.dipole import forward_field
from isdu_bids.registry import Method
from isdu_bids.units import hz_per_ppm, rad_per_ppm

SIZE = (1.0, 1.0, 2.0)


@pytest.fixture(scope="module")
def scene():
    """A sphere of 0.1 ppm inside a larger mask, B0 oblique."""
    chi = 0.1 * ball((32, 30, 16), 4).float()
    b0 = (0.0, 0.6, 0.8)
    return forward_field(chi, SIZE, b0).numpy(), ball((32, 30, 16), 7).numpy(), chi.numpy(), b0


@pytest.mark.parametrize("method", INVERSION)
def test_a_sphere_is_found(scene, method):
    field, mask, chi, b0 = scene
    found = invert(field, mask, voxel_size_mm=SIZE, b0_direction=b0, method=method)
    assert np.corrcoef(found[mask], chi[mask])[0, 1] > 0.85
    assert np.all(found[~mask] == 0)
    assert found[mask].mean() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("unit", "scale", "extra"),
    [
        ("hz", hz_per_ppm(3.0), {"field_strength_t": 3.0}),
        ("rad", rad_per_ppm(7.0, 0.02), {"field_strength_t": 7.0, "echo_time_s": 0.02}),
    ],
)
def test_units(scene, unit, scale, extra):
    field, mask, _, b0 = scene
    geometry = {"voxel_size_mm": SIZE, "b0_direction": b0, "method": "tkd"}
    expected = invert(field, mask, **geometry)
    found = invert(field * scale, mask, unit=unit, **extra, **geometry)
    assert np.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("method", ["isdu", "tkd", "l2"])
def test_b0_direction_needs_no_unit_length(scene, method):
    field, mask, _, b0 = scene
    maps = [
        invert(field, mask, voxel_size_mm=SIZE, b0_direction=direction, method=method)
        for direction in (b0, [3 * b for b in b0], [b / 7 for b in b0])
    ]
    assert np.array_equal(maps[0], maps[1])
    assert np.array_equal(maps[0], maps[2])


@pytest.mark.parametrize("method", ["tkd", "l2"])
@pytest.mark.parametrize("ulps", [-2, -1, 1, 2])
def test_the_last_bit_of_the_direction_changes_the_map_by_rounding_only(scene, method, ulps):
    """On the zero cone the sign of the kernel is one of rounding: it must not decide anything."""
    field, mask, _, b0 = scene
    arguments = [torch.from_numpy(volume) for volume in (field, mask)]
    maps = [
        INVERSION[method](*arguments, voxel_size_mm=SIZE, b0_direction=direction)
        for direction in (b0, [b + ulps * np.spacing(b) for b in b0])
    ]
    assert relative_difference(*maps) < 1e-5


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"method": "magic"}, UsageError, "choose from: isdu"),
        ({"method": "tkd:weight=1"}, UsageError, "has no parameter 'weight'"),
        ({"weight": 1.0}, UsageError, "has no parameter 'weight'"),
        ({"unit": "tesla"}, UsageError, "known are ppm"),
        ({"unit": "hz"}, UsageError, "field strength"),
        ({"unit": "rad", "field_strength_t": 3.0}, UsageError, "echo time"),
        ({"mask": np.zeros((32, 30, 16))}, DataError, "empty"),
        ({"mask": np.ones((32, 30, 15))}, DataError, "must be equal"),
        ({"field": np.full((32, 30, 16), np.nan)}, DataError, "not finite"),
    ],
)
def test_wrong_calls_are_explained(scene, change, error, message):
    field, mask, _, b0 = scene
    arguments = {"field": field, "mask": mask, "method": "tkd", **change}
    with pytest.raises(error, match=message):
        invert(voxel_size_mm=SIZE, b0_direction=b0, **arguments)


def test_the_package_offers_it():
    assert isdu_bids.invert is invert
    with pytest.raises(AttributeError):
        _ = isdu_bids.nothing


def test_tensors_of_other_types_are_taken(scene):
    field, mask, _, b0 = scene
    geometry = {"voxel_size_mm": SIZE, "b0_direction": b0, "method": "tkd"}
    chi = invert(torch.from_numpy(field).double(), mask.astype(np.uint8), **geometry)
    assert chi.dtype == np.float32


def test_volumes_that_a_method_takes_reach_it(scene, monkeypatch):
    field, mask, _, b0 = scene
    inputs = ("field_ppm", "mask", "magnitude")
    monkeypatch.setitem(
        INVERSION._methods, "new", Method("new", f"{__name__}:weighted", "new", "", inputs=inputs)
    )
    geometry = {"voxel_size_mm": SIZE, "b0_direction": b0, "method": "new", "device": "cpu"}
    found = invert(field, mask, volumes={"magnitude": 2 * mask}, **geometry)
    expected = np.where(mask, 2 * (field - field[mask].mean()), 0)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    with pytest.raises(DataError, match="needs magnitude"):
        invert(field, mask, **geometry)
    with pytest.raises(DataError, match=r"magnitude .* must be equal"):
        invert(field, mask, volumes={"magnitude": mask[1:]}, **geometry)


def weighted(field_ppm, mask, magnitude):
    return torch.where(mask, field_ppm * magnitude, 0)
