"""The default against plain V-SHARP on simulated heads with a known local field."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch

from isdu_bids.background import BACKGROUND
from isdu_bids.geometry import b0_direction, voxel_size_mm


@pytest.mark.parametrize("subject", ["sub-01", "sub-02"])
def test_default_beats_vsharp_over_the_whole_mask(data_folder, subject):
    folder = data_folder / "bids_simulated" / "derivatives" / "qsm-forward" / subject / "anat"
    images = {
        name: nib.load(folder / f"{subject}_{name}.nii.gz")
        for name in ("desc-shimmed_fieldmap", "fieldmap-local", "desc-brain_mask")
    }
    total, truth, mask = (
        torch.from_numpy(image.get_fdata(dtype=np.float32)) for image in images.values()
    )
    mask = mask > 0
    affine = images["desc-brain_mask"].affine
    errors = {}
    default = BACKGROUND.default.name
    scan = {
        "field_ppm": total,
        "mask": mask,
        "voxel_size_mm": voxel_size_mm(affine),
        "b0_direction": b0_direction(affine),
    }
    for name in (default, "vsharp"):
        local = BACKGROUND[name].run(scan)
        found, true = (v[mask] - v[mask].mean() for v in (local.field_ppm, truth))
        errors[name] = float((found - true).norm() / true.norm())
    assert errors[default] < 0.7 * errors["vsharp"]
    assert errors[default] < 0.8
