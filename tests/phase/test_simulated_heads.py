"""The total field of two simulated heads against the truth; romeo_small; a real scan's sign."""

import json
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from isdu_bids.geometry import b0_direction, voxel_size_mm
from isdu_bids.masking.registry import MASKS
from isdu_bids.phase.mapping import map_field
from isdu_bids.phase.scaling import decide_phase_scaling
from isdu_bids.units import hz_to_ppm


@pytest.fixture(scope="module")
def data():
    folder = os.environ.get("ISDU_BIDS_TEST_DATA")
    if not folder:
        pytest.skip("ISDU_BIDS_TEST_DATA is not set")
    return Path(folder)


def load_echoes(anat):
    phases = sorted(anat.glob("*_part-phase_MEGRE.nii.gz"))
    magnitudes = sorted(anat.glob("*_part-mag_MEGRE.nii.gz"))
    read = [[nib.load(f).get_fdata(dtype=np.float32) for f in fs] for fs in (phases, magnitudes)]
    times = [json.loads(Path(str(f).replace(".nii.gz", ".json")).read_text()) for f in phases]
    affine = nib.load(phases[0]).affine
    return np.stack(read[0]), np.stack(read[1]), [t["EchoTime"] for t in times], affine


@pytest.mark.parametrize("subject", ["01", "02"])
def test_total_field(data, subject):
    simulated = data / "bids_simulated"
    phase, magnitude, times, affine = load_echoes(simulated / f"sub-{subject}" / "anat")
    truth = simulated / "derivatives" / "qsm-forward" / f"sub-{subject}" / "anat"
    mask = nib.load(truth / f"sub-{subject}_desc-brain_mask.nii.gz").get_fdata() > 0
    true_ppm = nib.load(truth / f"sub-{subject}_desc-shimmed_fieldmap.nii.gz").get_fdata()[mask]

    result = map_field(
        phase, magnitude, times, mask, voxel_size_mm(affine), b0_direction=b0_direction(affine)
    )
    assert "sign_right" in result.flags
    field_ppm = hz_to_ppm(result.field_hz[mask], 3.0)
    error = field_ppm - field_ppm.mean() - (true_ppm - true_ppm.mean())
    assert np.linalg.norm(error) / np.linalg.norm(true_ppm - true_ppm.mean()) < 0.10
    assert np.mean(np.abs(error) > 0.05) < 0.003
    assert np.median(np.abs(error)) < 0.002


def test_romeo_small_is_recognised_as_scaled(data):
    folder = data / "romeo_small"
    stored, magnitude = (
        np.moveaxis(nib.load(folder / f"small_{name}.nii.gz").get_fdata(), -1, 0)
        for name in ("Phase", "Mag")
    )
    scaling = decide_phase_scaling(stored)
    assert scaling.slope == pytest.approx(855, rel=1e-4)
    mask = np.ones(stored.shape[1:], bool)
    result = map_field(
        scaling.to_radians(stored), magnitude.astype("f4"), (0.004, 0.008, 0.012), mask, (1, 1, 1)
    )
    # Steps of half a turn and more that remain between neighbours are open fringe lines.
    steps = np.abs(np.diff(result.unwrapped_rad[0], axis=0))
    assert np.mean(steps > np.pi) < 0.01


def test_real_scan_has_the_right_sign(data):
    phase, magnitude, times, affine = load_echoes(data / "bids_philips" / "sub-01" / "anat")
    mask = MASKS["magnitude"](magnitude, voxel_size_mm=voxel_size_mm(affine))
    result = map_field(
        phase, magnitude, times, mask, voxel_size_mm(affine), b0_direction=b0_direction(affine)
    )
    assert "sign_right" in result.flags
