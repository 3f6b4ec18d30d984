from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from isdu_bids import images
from isdu_bids.bids.simulated import TRUTH_FOLDER, affine_of_b0
from isdu_bids.bids.validation import validate
from isdu_bids.cli.toolbox import main
from isdu_bids.geometry import b0_direction, voxel_size_mm
from isdu_bids.simulation.demo_head import demo_head
from isdu_bids.simulation.sampling import resample_labels
from isdu_bids.simulation.tissues import label_names

OPTIONS = ["--voxel-size", "5", "5", "6", "--b0-tilt", "20", "--subjects", "2",
           "--echo-times", "0.005", "0.007", "--field-strength", "7", "--noise", "0"]  # fmt: skip


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    head = demo_head((46, 52, 48), (4.0, 4.0, 4.0), torch.Generator().manual_seed(0))
    affine = np.diag([-4.0, 4.0, 4.0, 1.0])  # first axis to the left
    path = tmp_path_factory.mktemp("labels") / "head.nii.gz"
    return images.save_volume(head.numpy()[::-1], affine, path)


@pytest.fixture(scope="module")
def dataset(labels, tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated") / "bids"
    assert main(["simulate", str(labels), "-o", str(folder), *OPTIONS]) == 0
    return folder


def test_the_dataset_and_its_truth_are_valid(dataset):
    """No errors; warnings ask for the name of a scanner, or of a hospital, that is not there."""
    for root in (dataset, dataset / TRUTH_FOLDER):
        report = validate(root)
        assert report is not None, "bids-validator-deno is part of the test environment"
        assert report.errors == ()
        assert all("RECOMMENDED" in line or "README" in line for line in report.warnings)
    assert sorted(path.name for path in dataset.glob("sub-*")) == ["sub-01", "sub-02"]


def test_the_scan_is_the_one_asked_for(dataset):
    stem = dataset / "sub-01" / "anat" / "sub-01_echo-2_part-phase_MEGRE"
    phase = images.load_volume(stem.with_name(f"{stem.name}.nii.gz"))
    tilt = np.deg2rad(20)
    assert voxel_size_mm(phase.affine) == pytest.approx((5, 5, 6))
    assert b0_direction(phase.affine) == pytest.approx((0, np.sin(tilt), np.cos(tilt)), abs=1e-6)
    sidecar = json.loads(stem.with_name(f"{stem.name}.json").read_text())
    assert (sidecar["EchoTime"], sidecar["MagneticFieldStrength"]) == (0.007, 7)
    assert sidecar["Units"] == "rad"


def test_the_truth_explains_the_phase(dataset):
    """Without noise, two echoes differ by the total field: files, units and sign agree."""

    def load(root, name):
        return images.load_volume(root / "sub-01" / f"{name}.nii.gz").data

    first, second = (load(dataset, f"anat/sub-01_echo-{echo}_part-phase_MEGRE") for echo in (1, 2))
    truth = dataset / TRUTH_FOLDER
    total_hz = load(truth, "fmap/sub-01_desc-total_fieldmap")
    brain = load(truth, "anat/sub-01_desc-brain_mask") > 0
    assert brain.sum() > 1000
    expected = 2 * np.pi * 0.002 * total_hz
    error = np.angle(np.exp(1j * (second - first - expected)))[brain]
    assert np.abs(error).max() < 1e-3
    chi, labels = load(truth, "anat/sub-01_Chimap"), load(truth, "anat/sub-01_dseg")
    nuclei = np.isin(labels, [11, 12, 13, 50, 51, 52])
    assert chi[nuclei].mean() > chi[labels == 2].mean() + 0.02
    names = (truth / "sub-01" / "anat" / "sub-01_dseg.tsv").read_text().splitlines()
    assert "52\tright pallidum" in names
    assert len(names) == 1 + len(np.unique(labels))
    where = [np.argwhere(labels == label)[:, 0].mean() for label in (13, 52)]
    assert where[0] < where[1]  # axes point right, whatever those of the label map did


def test_the_same_call_writes_the_same_bytes(dataset, labels, tmp_path):
    again, other = tmp_path / "again", tmp_path / "other"
    assert main(["simulate", str(labels), "-o", str(again), *OPTIONS]) == 0
    assert main(["simulate", str(labels), "-o", str(other), *OPTIONS, "--seed", "1"]) == 0
    files = [path.relative_to(dataset) for path in dataset.rglob("*") if path.is_file()]
    assert len(files) > 20
    assert [
        name for name in files if (dataset / name).read_bytes() != (again / name).read_bytes()
    ] == []
    chi = TRUTH_FOLDER + "/sub-{0}/anat/sub-{0}_Chimap.nii.gz"
    maps = {
        (dataset / chi.format("01")).read_bytes(),
        (dataset / chi.format("02")).read_bytes(),
        (other / chi.format("01")).read_bytes(),
        (other / chi.format("02")).read_bytes(),
    }
    assert len(maps) == 4  # every subject of every seed is another one


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--echo-times", "0.02", "0.01"], "echo times"),
        (["--echo-times", "5", "10"], "seconds"),
        (["--voxel-size", "1", "2"], "--voxel-size"),
        (["--subjects", "0"], "one subject"),
        (["--noise", "-1"], "noise"),
        (["--b0-tilt", "5", "--b0-direction", "0", "0", "1"], "not allowed"),
    ],
)
def test_what_makes_no_scan_is_refused(options, message, labels, tmp_path, capsys):
    assert main(["simulate", str(labels), "-o", str(tmp_path / "new"), *options]) == 64
    assert message in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_folder_that_holds_something_is_refused(dataset, labels, capsys):
    assert main(["simulate", str(labels), "-o", str(dataset)]) == 64
    assert "not empty" in capsys.readouterr().err


@pytest.mark.parametrize("direction", [(0, 0, 1), (1, 0, 0), (0.6, 0, -0.8), (0.48, 0.6, 0.64)])
def test_affines_see_b0_where_they_should(direction):
    affine = affine_of_b0((10, 12, 14), (1, 2, 3), direction)
    assert voxel_size_mm(affine) == pytest.approx((1, 2, 3))
    assert b0_direction(affine) == pytest.approx(direction)
    assert np.linalg.det(affine[:3, :3]) == pytest.approx(6)  # a rotation, no mirror
    assert affine[:3] @ [4.5, 5.5, 6.5, 1] == pytest.approx(0)


def test_resampling_labels_keeps_their_volume():
    cube = torch.zeros(12, 12, 12, dtype=torch.int16)
    cube[4:8, 4:8, 4:8] = 7
    fine = resample_labels(cube, (2, 2, 2), (1, 1, 1))
    assert fine.shape == (24, 24, 24)
    assert int((fine == 7).sum()) == 8 * 64
    assert torch.equal(resample_labels(fine, (1, 1, 1), (2, 2, 2)), cube)


def test_names_of_labels_tell_the_side():
    assert label_names([2, 41, 24, 999]) == {
        2: "left white matter",
        41: "right white matter",
        24: "cerebrospinal fluid",
        999: "label 999",
    }
