"""A template that cannot be used costs the maps in its space and nothing else."""

from __future__ import annotations

import json
import sys
import types
from importlib.machinery import ModuleSpec

from isdu_bids.cli import app


def test_neither_a_missing_nor_a_broken_template_costs_the_map(
    head_dataset, tmp_path, capsys, monkeypatch
):
    """One is noticed before the run, the other by the step that registers."""
    library = types.ModuleType("ants")
    library.__spec__ = ModuleSpec("ants", None)
    monkeypatch.setitem(sys.modules, "ants", library)
    monkeypatch.setitem(sys.modules, "templateflow", None)
    monkeypatch.setenv("TEMPLATEFLOW_HOME", str(tmp_path / "templates"))
    for end in ("T1w", "desc-brain_mask"):
        path = tmp_path / "templates/tpl-PNC" / f"tpl-PNC_res-01_{end}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("no image")
    out = tmp_path / "out"
    stale = out / "sub-01/figures/sub-01_space-NKI_desc-template_Chimap.webp"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"")
    code = app.main(
        [str(head_dataset), str(out), "participant", "-w", str(tmp_path / "work"),
         "--participant-label", "01", "--inversion", "tkd", "--nprocs", "1",
         "--segmentation", "none", "--skip-bids-validation", "--output-spaces", "NKI", "PNC"]
    )  # fmt: skip
    assert code == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if "no maps in" in line]
    assert len(lines) == 1
    assert "NKI" in lines[0]
    assert "TEMPLATEFLOW_HOME" in lines[0]
    assert (out / "sub-01/anat/sub-01_Chimap.nii.gz").exists()
    assert not list(out.rglob("*space-*"))
    assert not list(out.rglob("*_xfm*"))
    summary = json.loads((out / "sub-01/log/sub-01_summary.json").read_text())
    names = {flag["name"] for flag in summary["flags"]}
    assert {"template_unavailable", "template_registration_failed"} <= names
    assert "cannot be read" in summary["facts"]["template_error_PNC"]
    assert summary["further_processing"] == []
    assert "Avants" not in (out / "logs/CITATION.md").read_text()
    assert "the registration to a template failed" in (out / "sub-01.html").read_text()
