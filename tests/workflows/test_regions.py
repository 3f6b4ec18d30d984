"""Regions of a whole run: those of the user, and none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from isdu_bids import images
from isdu_bids.bids.validation import validate
from isdu_bids.cli import app
from isdu_bids.interfaces.outputs import with_labels

STATS = "sub-01/anat/sub-01_seg-user_desc-chi_stats"


def run(dataset: Path, folder: Path, *options: str) -> Path:
    arguments = [str(dataset), str(folder / "out"), "participant", "-w", str(folder / "work")]
    chosen = ["--participant-label", "01", "--inversion", "tkd", "--skip-bids-validation"]
    assert app.main([*arguments, *chosen, *options]) == 0
    return folder / "out"


def test_statistics_of_the_users_labels(head_dataset, tmp_path):
    """Means of the table are those of the voxels that the user labelled."""
    image = images.load_volume(head_dataset / "sub-01/anat/sub-01_echo-1_part-mag_MEGRE.nii.gz")
    random = np.random.default_rng(0)
    labels = random.choice([0, 4, 12, 13, 43, 51], size=image.data.shape).astype(np.int16)
    dseg = tmp_path / "labels" / "sub-01" / "anat" / "sub-01_dseg.nii.gz"
    dseg.parent.mkdir(parents=True)
    images.save_volume(labels, image.affine, dseg)
    out = run(head_dataset, tmp_path, "--derivatives", str(tmp_path / "labels"))
    written = images.load_volume(out / "sub-01/anat/sub-01_seg-user_dseg.nii.gz")
    np.testing.assert_array_equal(written.data, labels)
    chi = images.load_volume(out / "sub-01/anat/sub-01_Chimap.nii.gz").data
    inside = images.load_volume(out / "sub-01/anat/sub-01_desc-eroded_mask.nii.gz").data > 0
    table = pd.read_csv(out / f"{STATS}.tsv", sep="\t").set_index("index")
    for label in (4, 12, 13, 43, 51):
        region = inside & (labels == label)
        assert table.loc[label, "n_voxels"] == region.sum()
        assert table.loc[label, "chi_mean_ppm"] == pytest.approx(chi[region].mean(), abs=2e-6)
    csf = images.load_volume(out / "sub-01/anat/sub-01_desc-csf_Chimap.nii.gz").data
    shift = (chi - csf)[inside]
    assert np.ptp(shift) < 1e-5
    sidecar = json.loads((out / f"{STATS}.json").read_text())
    assert sidecar["CSFReference"]["ReferenceMeanPpm"] == pytest.approx(shift.mean(), abs=1e-6)
    assert sidecar["Segmentation"] == "user"
    assert sidecar["chi_mean_ppm"]["Units"] == "ppm"
    assert sidecar["BrainReference"]["ReferenceNumberOfVoxels"] == inside.sum()
    report = validate(out)
    assert report is not None
    assert (report.errors, report.warnings) == ((), ())
    assert "Manual" not in json.loads((out / "sub-01/anat/sub-01_seg-user_dseg.json").read_text())
    run(head_dataset, tmp_path, "--segmentation", "none")  # the same folder: labels are outdated
    left = {path.name for path in (out / "sub-01" / "anat").iterdir()}
    assert "sub-01_Chimap.nii.gz" in left
    assert not [name for name in left if "seg-" in name or "desc-csf" in name]


def test_no_segmentation_without_synthseg(head_dataset, tmp_path, monkeypatch):
    monkeypatch.delenv("FREESURFER_HOME", raising=False)
    out = run(head_dataset, tmp_path)
    assert not list(out.rglob("*dseg*"))
    assert not list(out.rglob("*stats*"))
    assert "no regional statistics" in (out / "sub-01.html").read_text()


def test_synthseg_without_its_weights_is_a_wrong_call(head_dataset, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("FREESURFER_HOME", raising=False)
    code = app.main(
        [str(head_dataset), str(tmp_path / "out"), "participant", "-w", str(tmp_path / "work"),
         "--segmentation", "synthseg", "--skip-bids-validation"]
    )  # fmt: skip
    assert code == 64
    assert "--synthseg-weights" in capsys.readouterr().err


def test_labels_become_numbers_again_and_scores_keep_their_names():
    volumes = {"confidence": {"12": 0.9}, "intracranial_mm3": 1.5, "scores": {"thalamus": 0.8}}
    assert with_labels(volumes) == {**volumes, "confidence": {12: 0.9}}


def test_a_broken_segmentation_costs_the_regions_and_not_the_map(head_dataset, tmp_path):
    image = images.load_volume(head_dataset / "sub-01/anat/sub-01_echo-1_part-mag_MEGRE.nii.gz")
    dseg = tmp_path / "labels" / "sub-01" / "anat" / "sub-01_dseg.nii.gz"
    dseg.parent.mkdir(parents=True)
    images.save_volume(np.full(image.data.shape, 999, np.int16), image.affine, dseg)
    out = run(head_dataset, tmp_path, "--derivatives", str(tmp_path / "labels"))
    assert (out / "sub-01/anat/sub-01_Chimap.nii.gz").exists()
    assert not list(out.rglob("*_stats.tsv"))
    assert "labels [999] are not FreeSurfer" in (out / "sub-01.html").read_text()
