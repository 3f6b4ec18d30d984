"""The step that reads a scan refuses what contradicts itself, with the file in the message."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from isdu_bids.errors import DataError
from isdu_bids.interfaces.base import Notes
from isdu_bids.interfaces.field import LoadScan


@pytest.fixture
def step(scan_maker, tmp_path, monkeypatch):
    """LoadScan of three echoes, whose parts may be exchanged or changed."""
    monkeypatch.chdir(tmp_path)
    scan = scan_maker((0.005, 0.012, 0.019))
    parts = {"mag": scan.magnitude, "phase": scan.phase_rad}
    files = {part: [] for part in parts}
    for part, stack in parts.items():
        for echo, volume in enumerate(stack, start=1):
            path = tmp_path / f"echo-{echo}_part-{part}.nii"
            nib.save(nib.Nifti1Image(volume, np.diag([2.0, 2.0, 2.0, 1.0])), path)
            files[part].append(str(path))
    return LoadScan(
        magnitude_files=files["mag"],
        phase_files=files["phase"],
        echo_times_s=list(scan.echo_times_s),
        phase_units="rad",
        flags=["b0_dir_ignored"],
    )


def test_flags_of_metadata_and_signal_are_told(step):
    path = step.inputs.phase_files[1]
    image = nib.load(path)
    nib.save(nib.Nifti1Image(-np.asarray(image.dataobj), image.affine), path)
    notes = Notes.merged([step.run().outputs.notes])
    assert notes.flags == ["b0_dir_ignored", "echo_sign_repaired"]


def test_exchanged_parts_are_named_as_such(step):
    step.inputs.magnitude_files, step.inputs.phase_files = (
        step.inputs.phase_files,
        step.inputs.magnitude_files,
    )
    with pytest.raises(DataError, match=r"echo-1_part-phase\.nii: the magnitude has negative"):
        step.run()


def test_a_phase_of_unknown_scale_is_named(step):
    step.inputs.phase_units = None
    for path in step.inputs.phase_files:
        image = nib.load(path)
        nib.save(nib.Nifti1Image(0.1 * np.abs(image.get_fdata()), image.affine), path)
    with pytest.raises(DataError, match=r"echo-1_part-phase\.nii: phase with values"):
        step.run()


def test_a_copied_file_is_named(step):
    first, second, _ = map(Path, step.inputs.phase_files)
    second.write_bytes(first.read_bytes())
    with pytest.raises(DataError, match=r"echo-2_part-phase\.nii holds the same phase as .*echo-1"):
        step.run()
