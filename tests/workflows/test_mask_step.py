"""The mask that needs a file of weights, as a step of a run."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from isdu_bids import images
from isdu_bids.cli import app
from isdu_bids.interfaces.field import MaskBrain
from isdu_bids.masking import synthstrip


def test_a_missing_file_stops_the_run_before_it_starts(head_dataset, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("FREESURFER_HOME", raising=False)
    code = app.main(
        [str(head_dataset), str(tmp_path / "out"), "participant", "-w", str(tmp_path / "work"),
         "--mask", "synthstrip", "--skip-bids-validation"]
    )  # fmt: skip
    assert code == 64
    assert "--synthstrip-weights" in capsys.readouterr().err


@pytest.mark.parametrize("official", [True, False])
def test_the_notes_name_the_weights(official, head_dataset, tmp_path, monkeypatch):
    weights = tmp_path / "synthstrip.1.pt"
    weights.write_text("random")
    sha256 = hashlib.sha256(b"random").hexdigest()
    if official:
        monkeypatch.setattr(synthstrip, "SYNTHSTRIP_SHA256", sha256)
    loaded = []

    def load(path: Path):
        loaded.append(path)
        return lambda view: 2 - 10 * view

    monkeypatch.setattr(synthstrip, "load_synthstrip", load)
    monkeypatch.setattr(synthstrip, "_SMALLEST", 64)
    anat = head_dataset / "sub-01" / "anat"
    magnitude = images.load_volume(anat / "sub-01_echo-1_part-mag_MEGRE.nii.gz")
    phase = images.save_volume(
        np.full_like(magnitude.data, 0.5), magnitude.affine, tmp_path / "phase.nii"
    )
    monkeypatch.chdir(tmp_path)
    result = MaskBrain(
        magnitude=str(anat / "sub-01_echo-1_part-mag_MEGRE.nii.gz"),
        phase=str(phase),
        echo_times_s=[0.005],
        method="synthstrip",
        parameters={"weights": str(weights)},
        checksums={"weights": sha256},
    ).run()
    assert loaded == [weights]
    assert images.load_volume(result.outputs.brain_mask).data.any()
    notes = json.loads(Path(result.outputs.notes).read_text())
    assert notes["flags"] == ([] if official else ["unofficial_synthstrip"])
    assert notes["summary"]["mask"] == "synthstrip"
    assert notes["summary"]["mask_weights_sha256"] == sha256
    assert notes["summary"]["mask_parameters"]["border_mm"] == 1.0
    assert "SynthStrip" in notes["sentences"][0][0]
