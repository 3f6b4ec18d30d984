"""The step that writes, given maps by their names, as the wiring hands them over."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from skeleton import AFFINE, SHAPE, make_dataset

from isdu_bids import images
from isdu_bids.bids.query import find_acquisitions
from isdu_bids.interfaces.outputs import WriteDerivatives
from isdu_bids.quality.record import read_record

FACTS = {
    "mask": "combined",
    "inversion": "isdu",
    "inversion_reference": "vaddadi2025",
    "inversion_parameters": {"grid": "aligned", "precision": "single"},
    "weights": "isdu_k4",
    "weights_description": "preliminary weights: an example",
    "relaxation": "arlo",
}


@pytest.fixture
def scan(tmp_path):
    return find_acquisitions(make_dataset(tmp_path / "raw")).acquisitions[0]


def write(scan, folder: Path, **volumes):
    """Run the step on these maps and those that every scan has; return folder and record."""
    volumes = {
        "magnitude": np.ones((*SHAPE, 3)),
        "brain_mask": np.ones(SHAPE),
        "eroded_mask": np.ones(SHAPE),
        "total_field_ppm": np.full(SHAPE, 0.1),
        "local_field_ppm": np.full(SHAPE, 0.01),
        "chi_ppm": np.full(SHAPE, 0.02),
        **volumes,
    }
    folder.mkdir()
    maps = {name: str(folder / f"{name}.nii") for name in volumes}
    for name, data in volumes.items():
        images.save_volume(data.astype(np.float32), AFFINE, Path(maps[name]))
    notes, measures = folder / "notes.json", folder / "measures.json"
    sentences = [["Phase was unwrapped", "10.1002/mrm.28563"]]
    met = ["other_grid_for_weights"]
    notes.write_text(json.dumps({"sentences": sentences, "flags": met, "summary": FACTS}))
    measures.write_text('{"chi_sd_ppm": 0.03, "streak_index": null}')
    result = WriteDerivatives(
        acquisition=scan,
        b0_direction=(0.0, 0.0, 1.0),
        output_dir=str(folder / "out"),
        measures=str(measures),
        notes=[str(notes)],
        inputs_sha256="1" * 64,
        **maps,
    ).run(cwd=str(folder))
    return folder / "out", read_record(Path(result.outputs.summary))


def sidecar(out: Path, name: str) -> dict:
    return json.loads((out / "sub-01" / f"{name}.json").read_text())


def test_a_map_is_written_where_there_is_one(scan, tmp_path):
    out, _ = write(scan, tmp_path / "a", chi_sd=np.full(SHAPE, 0.005))
    assert (out / "sub-01/anat/sub-01_desc-sd_Chimap.nii.gz").exists()
    assert not (out / "sub-01/anat/sub-01_R2starmap.nii.gz").exists()
    out, _ = write(scan, tmp_path / "b", r2star=np.full(SHAPE, 20.0))
    assert not (out / "sub-01/anat/sub-01_desc-sd_Chimap.nii.gz").exists()
    assert (out / "sub-01/anat/sub-01_R2starmap.nii.gz").exists()


def test_each_image_is_flagged_for_its_own_steps(scan, tmp_path):
    out, _ = write(scan, tmp_path / "a", chi_sd=np.ones(SHAPE), r2star=np.full(SHAPE, 20.0))
    expected = ["other_grid_for_weights", "preliminary_weights"]
    for name in ("anat/sub-01_Chimap", "anat/sub-01_desc-sd_Chimap"):
        assert sidecar(out, name)["Flags"] == expected
        assert sidecar(out, name)["WeightsDescription"].startswith("preliminary")
    for name in ("anat/sub-01_R2starmap", "fmap/sub-01_desc-local_fieldmap"):
        assert "Flags" not in sidecar(out, name)
        assert "Weights" not in sidecar(out, name)


def test_the_record_tells_all_of_the_scan(scan, tmp_path):
    _, record = write(scan, tmp_path / "a")
    assert record.name == "sub-01"
    assert tuple(record.shape) == SHAPE
    assert record.scanner == "Skeleton"
    assert record.facts == FACTS | {"inputs_sha256": "1" * 64}
    assert np.isnan(record.measures["streak_index"])
    assert "preliminary_weights" in {flag.name for flag in record.flags}
    assert "along B0" in record.further_processing[0]
    text = " ".join(sentence for sentence, _ in record.sentences)
    assert text.startswith("Quantitative susceptibility maps were computed with isdu-bids ")
    assert "isdu_k4 (preliminary weights: an example); it ran on the aligned grid" in text


def test_a_segmentation_without_labels_leaves_nothing(scan, tmp_path):
    out, record = write(scan, tmp_path / "a", labels=np.zeros(SHAPE))
    assert not list(out.rglob("*dseg*"))
    assert record.regions is None
