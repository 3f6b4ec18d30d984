import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from isdu_bids.errors import DataError
from isdu_bids.masking.registry import MASKS
from isdu_bids.masking.surface import brain_surface_mask
from isdu_bids.phase.romeo import voxel_quality


def dice(a, b):
    return 2 * np.sum(a & b) / (np.sum(a) + np.sum(b))


def head(size):
    """Brain in dark skull under bright scalp, with eyes on thin nerves and a neck on a cord."""
    axes = [np.arange(round(n / s)) * s - n / 2 for n, s in zip((190, 220, 200), size, strict=True)]
    x, y, z = np.meshgrid(*axes, indexing="ij")

    def ellipsoid(centre, radii):
        shifted = zip((x, y, z), centre, radii, strict=True)
        return sum(((axis - c) / r) ** 2 for axis, c, r in shifted) < 1

    brain = ellipsoid((0, 0, 15), (66, 80, 62))
    scalp = ellipsoid((0, 0, 15), (84, 98, 80)) & ~ellipsoid((0, 0, 15), (77, 91, 73))
    neck = (x**2 + (y + 10) ** 2 < 55**2) & (z < -65)
    cord = (x**2 + (y + 10) ** 2 < 7**2) & (z < -40)
    image = 0.05 + 1.0 * brain + 1.5 * scalp + 0.8 * neck + 0.8 * (cord & ~brain & ~neck)
    generator = np.random.default_rng(0)
    noise = 0.02 * generator.standard_normal((2, *image.shape))
    return np.hypot(image + noise[0], noise[1]).astype(np.float32)[None], brain


@pytest.fixture(scope="module")
def coarse():
    return head((3.0, 3.0, 3.0))


def test_brain_without_scalp_and_neck(coarse):
    magnitude, brain = coarse
    mask = MASKS["magnitude"](magnitude, voxel_size_mm=(3.0, 3.0, 3.0))
    assert mask.dtype == bool
    assert dice(mask, brain) > 0.95


def test_mask_does_not_depend_on_scale_or_shading(coarse):
    magnitude, brain = coarse
    x = np.linspace(-1, 1, magnitude.shape[1], dtype=np.float32)[:, None, None]
    for changed in (magnitude * 1e-6, magnitude * 1e6, magnitude * np.exp(x)):
        mask = MASKS["magnitude"](changed, voxel_size_mm=(3.0, 3.0, 3.0))
        assert dice(mask, brain) > 0.94


def test_anisotropic_voxels():
    size = (2.5, 2.5, 5.0)
    magnitude, brain = head(size)
    assert dice(MASKS["magnitude"](magnitude, voxel_size_mm=size), brain) > 0.93


def test_combined_mask_drops_an_unreliable_rim_but_keeps_deep_holes(coarse):
    magnitude, brain = coarse
    rim, deep = np.zeros_like(brain), np.zeros_like(brain)
    rim[:, :, :30], deep[30:33, 35:38, 36:39] = True, True
    quality = np.where(rim | deep, 0.05, 0.9).astype(np.float32)
    mask = MASKS["combined"](magnitude, quality=quality, voxel_size_mm=(3.0, 3.0, 3.0))
    assert mask[deep & brain].all()
    assert not mask[:, :, :26].any()
    assert dice(mask, brain & ~rim) > 0.93


def test_quality_mask_is_one_solid_piece(coarse):
    _, brain = coarse
    generator = np.random.default_rng(0)
    quality = np.where(brain, 0.8, 0.1) + 0.15 * generator.standard_normal(brain.shape)
    mask = MASKS["quality"](quality, voxel_size_mm=(3.0, 3.0, 3.0))
    assert dice(mask, brain) > 0.97


@pytest.mark.parametrize("name", ["quality", "combined"])
def test_quality_is_asked_for(coarse, name):
    with pytest.raises(DataError, match="needs quality"):
        MASKS[name].run({"magnitude": coarse[0], "voxel_size_mm": (3.0, 3.0, 3.0)})


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_no_surface_without_signal(value):
    with pytest.raises(DataError, match="no brain found"):
        brain_surface_mask(np.full((30, 30, 30), value, np.float32), (3.0, 3.0, 3.0))


@pytest.mark.parametrize("name", MASKS)
def test_nothing_in_the_scan_is_an_error(name):
    empty = np.zeros((1, 30, 30, 30), np.float32)
    with pytest.raises(DataError, match="part-"):
        MASKS[name].run(
            {
                "magnitude": empty,
                "quality": empty[0],
                "voxel_size_mm": (3.0, 3.0, 3.0),
                "affine": np.eye(4),
            }
        )


@pytest.mark.parametrize("subject", ["01", "02"])
def test_simulated_heads(subject):
    folder = os.environ.get("ISDU_BIDS_TEST_DATA")
    if not folder:
        pytest.skip("ISDU_BIDS_TEST_DATA is not set")
    data = Path(folder) / "bids_simulated"
    anat = data / f"sub-{subject}" / "anat"
    truth = data / "derivatives" / "qsm-forward" / f"sub-{subject}" / "anat"

    def load(part):
        files = sorted(anat.glob(f"*_part-{part}_MEGRE.nii.gz"))
        return np.stack([nib.load(file).get_fdata(dtype=np.float32) for file in files])

    brain = nib.load(truth / f"sub-{subject}_desc-brain_mask.nii.gz").get_fdata() > 0
    quality = voxel_quality(load("phase")[:1], load("mag")[:1])
    mask = MASKS["combined"](load("mag"), quality=quality, voxel_size_mm=(2.0, 2.0, 2.0))
    assert dice(mask, brain) > 0.97
