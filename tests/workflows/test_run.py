"""The whole app by its command line, on two small simulated heads."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from isdu_bids import images
from isdu_bids.bids.layout import failure_path, thumbnail_path
from isdu_bids.bids.simulated import TRUTH_FOLDER
from isdu_bids.bids.validation import validate
from isdu_bids.cli import app
from isdu_bids.evaluation.metrics import dice, nrmse_percent, pearson_r, slope
from isdu_bids.files import write_text
from isdu_bids.networks.weights import available_weights, load_weights
from isdu_bids.units import ppm_to_hz

GOLDEN = [
    "anat/{s}_Chimap",
    "anat/{s}_seg-small_dseg",
    "anat/{s}_R2starmap",
    "anat/{s}_T2starmap",
    "anat/{s}_S0map",
    "anat/{s}_part-mag_desc-combined_T2starw",
    "anat/{s}_desc-brain_mask",
    "anat/{s}_desc-eroded_mask",
    *(f"anat/{{s}}_echo-{echo}_part-phase_desc-unwrapped_MEGRE" for echo in (1, 2, 3)),
    "fmap/{s}_desc-total_fieldmap",
    "fmap/{s}_desc-local_fieldmap",
    "fmap/{s}_desc-sd_fieldmap",
    "fmap/{s}_magnitude",
]


def load(root: Path, subject: str, name: str) -> np.ndarray:
    return images.load_volume(root / subject / f"{name.format(s=subject)}.nii.gz").data


def test_golden_list(processed):
    out = processed / "out"
    expected = {"dataset_description.json", "README.md", ".bidsignore"}
    for subject in ("sub-01", "sub-02"):
        expected.add(f"{subject}.html")
        for name in GOLDEN:
            stem = f"{subject}/{name.format(s=subject)}"
            expected |= {f"{stem}.nii.gz", f"{stem}.json"}
        expected.add(f"{subject}/anat/{subject}_seg-small_dseg.tsv")
        stats = f"{subject}/anat/{subject}_seg-small_desc-chi_stats"
        expected |= {f"{stats}.tsv", f"{stats}.json"}
    found = {
        str(path.relative_to(out))
        for path in out.rglob("*")
        if path.is_file()
        and not {"figures", "log", "logs"} & set(path.relative_to(out).parts)
        and "desc-csf" not in path.name  # where the network finds ventricles
    }
    assert found == expected
    methods = (out / "logs" / "CITATION.md").read_text()
    assert methods.count("doi.org") > 4
    assert "isdu-bids 0." in methods
    assert "with ROMEO" in methods
    assert "SNR-weighted mean of the echoes" in methods
    assert "isdu_ms3 (preliminary weights" in methods
    assert "Pipeline" not in methods  # two scans, one text
    assert (out / "logs" / "CITATION.bib").read_text().count("@article{") > 4


def test_output_passes_the_validator(processed):
    report = validate(processed / "out")
    assert report is not None, "bids-validator-deno is part of the test environment"
    assert (report.errors, report.warnings) == ((), ())


@pytest.mark.parametrize("subject", ["sub-01", "sub-02"])
def test_results_are_close_to_the_truth(processed, head_dataset, subject):
    """Bounds are for 4 mm voxels, where background fields are steep within a voxel."""
    out, truth = processed / "out", head_dataset / TRUTH_FOLDER
    brain = load(truth, subject, "anat/{s}_desc-brain_mask") > 0
    valid = load(out, subject, "anat/{s}_desc-eroded_mask") > 0
    inside = brain & valid
    assert dice(load(out, subject, "anat/{s}_desc-brain_mask") > 0, brain) > 0.85
    assert inside.sum() > 0.6 * brain.sum()
    total = [load(root, subject, "fmap/{s}_desc-total_fieldmap") for root in (out, truth)]
    assert nrmse_percent(*total, inside) < 15
    chi = [load(root, subject, "anat/{s}_Chimap") for root in (out, truth)]
    assert nrmse_percent(*chi, inside) < 92  # 86 and 88; an empty map 100, one turned in sign 157
    assert pearson_r(*chi, inside) > 0.45  # 0.53 and 0.59; noise 0
    assert slope(*chi, inside) > 0.3  # paramagnetic is positive
    local = [load(root, subject, "fmap/{s}_desc-local_fieldmap") for root in (out, truth)]
    assert pearson_r(*local, inside) > 0.55  # 0.63 for both
    assert abs(chi[0][valid].mean()) < 1e-4  # referenced to the whole mask
    assert not chi[0][~valid].any()


def test_field_maps_are_in_hz(processed, head_dataset):
    total = load(processed / "out", "sub-01", "fmap/{s}_desc-total_fieldmap")
    brain = load(processed / "out", "sub-01", "anat/{s}_desc-brain_mask") > 0
    assert ppm_to_hz(0.02, 3.0) < total[brain].std() < ppm_to_hz(1.0, 3.0)


def test_sidecar_says_how_the_map_was_made(processed):
    sidecar = json.loads((processed / "out/sub-01/anat/sub-01_Chimap.json").read_text())
    assert sidecar["EstimationAlgorithm"] == "isdu"
    assert "ISDU-QSMNet" in sidecar["EstimationReference"]
    assert sidecar["Units"] == "ppm"
    assert sidecar["Processing"]["background"] == "jdf"
    assert sidecar["Processing"]["offset"] == "monopolar"
    assert "relaxation" not in sidecar["Processing"]
    assert "preliminary_weights" in sidecar["Flags"]
    assert sidecar["Sources"] == [
        "bids::sub-01/fmap/sub-01_desc-local_fieldmap.nii.gz",
        "bids::sub-01/anat/sub-01_desc-eroded_mask.nii.gz",
    ]
    assert sidecar["Processing"]["weights_iterations"] == 3
    assert sidecar["SkullStripped"] is True
    assert sidecar["EchoTime"] == [0.005, 0.012, 0.019]
    assert sidecar["WeightsSHA256"] == load_weights().sha256
    assert "preliminary" in sidecar["WeightsDescription"]
    assert "rad" in sidecar["PhaseScaling"]


def test_no_sidecar_leaves_a_choice_open(processed):
    """What a run resolves is told, `auto` tells nothing; and each map has a method."""
    images_found = 0
    for image in (processed / "out").rglob("sub-*.nii.gz"):
        text = image.with_name(image.name.replace(".nii.gz", ".json")).read_text()
        assert '"auto"' not in text, image
        summed = image.name.endswith(("T2starw.nii.gz", "_magnitude.nii.gz"))
        assert summed or "EstimationReference" in json.loads(text), image
        images_found += 1
    assert images_found > 20


def test_affines_are_those_of_the_input(processed, head_dataset):
    raw = images.load_volume(head_dataset / "sub-01/anat/sub-01_echo-1_part-mag_MEGRE.nii.gz")
    chi = images.load_volume(processed / "out/sub-01/anat/sub-01_Chimap.nii.gz")
    np.testing.assert_allclose(chi.affine, raw.affine, atol=1e-5)


def test_report_shows_its_figures_and_warns_of_preliminary_weights(processed):
    page = (processed / "out/sub-01.html").read_text()
    links = re.findall(r'src="([^"]+)"', page)
    assert len(links) >= 7
    assert all((processed / "out" / link.removeprefix("./")).is_file() for link in links)
    assert "preliminary" in page


def test_a_damaged_summary_spares_the_other_reports(processed, head_dataset, tmp_path):
    """Reports can be written again from the output alone, also when one summary is broken."""
    out = shutil.copytree(processed / "out", tmp_path / "out")
    (out / "sub-01/log/sub-01_summary.json").write_text("{}")
    for page in out.glob("*.html"):
        page.unlink()
    code = app.main(
        [str(head_dataset), str(out), "participant", "--reports-only", "--skip-bids-validation",
         "-w", str(tmp_path / "work")]
    )  # fmt: skip
    assert code == 0
    assert "is damaged or of another version" in (out / "sub-01.html").read_text()
    assert "Chimap" in (out / "sub-02.html").read_text()


def test_settings_are_recorded_and_can_be_used_again(processed, head_dataset, capsys):
    (record,) = (processed / "out/sub-01/log").glob("*/isdu-bids.toml")
    code = app.main(
        [str(head_dataset), str(processed / "other"), "participant", "--dry-run",
         "--config-file", str(record)]
    )  # fmt: skip
    assert code == 0
    assert "sub-01: MEGRE, TE 5, 12, 19 ms, 3 T" in capsys.readouterr().out


def test_rerun_recomputes_nothing_and_restores_lost_files(processed, head_dataset):
    results = sorted((processed / "work").rglob("result_*.pklz"))
    steps = {
        path: path.stat().st_mtime_ns for path in results if path.parent.name not in ALWAYS_RUN
    }
    assert len(steps) >= 14
    lost = processed / "out/sub-01/anat/sub-01_Chimap.nii.gz"
    lost.unlink()
    thumbnail = thumbnail_path(processed / "out", "sub-01")
    thumbnail.unlink()
    failure = write_text(
        failure_path(processed / "out", "sub-01"), '{"reason": "of an earlier run"}'
    )
    code = app.main(
        [str(head_dataset), str(processed / "out"), "participant", "-w", str(processed / "work"),
         "--skip-bids-validation", "--segmentation", "small"]
    )  # fmt: skip
    assert code == 0
    assert lost.is_file()
    assert thumbnail.is_file()
    assert not failure.exists()
    assert {path: path.stat().st_mtime_ns for path in steps} == steps


ALWAYS_RUN = {"write", "figures"}


def test_other_background_method_reruns_only_what_follows(processed, head_dataset):
    """In a copy of the work folder: phase and masks are kept, local field and map are new."""
    before = {path: path.stat().st_mtime_ns for path in (processed / "work").rglob("result_*.pklz")}
    code = app.main(
        [str(head_dataset), str(processed / "other"), "participant", "-w", str(processed / "work"),
         "--skip-bids-validation", "--participant-label", "01", "--background", "vsharp",
         "--segmentation", "small"]
    )  # fmt: skip
    assert code == 0
    rerun = {path.parent.name for path, time in before.items() if path.stat().st_mtime_ns != time}
    changed = {"background", "inversion", "reference", "regions", "quality", "notes"}
    changed.add("segmentation")  # the small network sees the susceptibility
    assert rerun == changed | {"figures", "write"}


def test_nan_voxels_and_relative_folders_and_an_explicit_range(head_dataset, tmp_path, monkeypatch):
    """Phase stored as 0..4095 with a block of NaN: the block leaves the mask, and is told."""
    dataset = shutil.copytree(head_dataset, tmp_path / "bids")
    shutil.rmtree(dataset / "sub-02")
    shutil.rmtree(dataset / "derivatives")
    for path in sorted((dataset / "sub-01/anat").glob("*part-phase*.nii.gz")):
        volume = images.load_volume(path)
        stored = (volume.data + np.pi) / (2 * np.pi) * 4096
        stored[20:24, 24:28, 24:28] = np.nan
        images.save_volume(stored, volume.affine, path)
        sidecar = path.with_name(path.name.replace(".nii.gz", ".json"))
        sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | {"Units": "arbitrary"}))
    monkeypatch.chdir(tmp_path)
    code = app.main(
        ["bids", "out", "participant", "-w", "work", "--phase-range", "0", "4096",
         "--inversion", "tkd", "--background", "vsharp", "--reference", "none"]
    )  # fmt: skip
    assert code == 0
    assert not load(tmp_path / "out", "sub-01", "anat/{s}_desc-eroded_mask")[
        20:24, 24:28, 24:28
    ].any()
    total = load(tmp_path / "out", "sub-01", "fmap/{s}_desc-total_fieldmap")
    truth = load(head_dataset / TRUTH_FOLDER, "sub-01", "fmap/{s}_desc-total_fieldmap")
    valid = load(tmp_path / "out", "sub-01", "anat/{s}_desc-eroded_mask") > 0
    brain = load(head_dataset / TRUTH_FOLDER, "sub-01", "anat/{s}_desc-brain_mask") > 0
    assert nrmse_percent(total, truth, valid & brain) < 15
    sidecar = json.loads((tmp_path / "out/sub-01/anat/sub-01_Chimap.json").read_text())
    assert "voxels_not_finite" in sidecar["Flags"]
    assert "without a finite value" in (tmp_path / "out/sub-01.html").read_text()


def test_options_of_the_network(head_dataset, tmp_path):
    """Half precision on another grid, and the standard deviation of the map."""
    out = tmp_path / "out"
    code = app.main(
        [str(head_dataset), str(out), "participant", "-w", str(tmp_path / "work"),
         "--skip-bids-validation", "--participant-label", "02", "--background", "vsharp",
         "--grid", "aligned", "--precision", "half", "--uncertainty"]
    )  # fmt: skip
    assert code == 0
    chi, sd, mask = (
        load(out, "sub-02", f"anat/{{s}}_{name}")
        for name in ("Chimap", "desc-sd_Chimap", "desc-eroded_mask")
    )
    assert np.all(sd[mask > 0] > 0)
    assert np.all(sd[mask == 0] == 0)
    assert np.median(sd[mask > 0]) < chi[mask > 0].std()
    sidecar = json.loads((out / "sub-02/anat/sub-02_Chimap.json").read_text())
    parameters = sidecar["Processing"]["inversion_parameters"]
    assert (parameters["grid"], parameters["precision"]) == ("aligned", "half")
    assert "other_grid_for_weights" in sidecar["Flags"]
    assert "none: maps keep the voxel grid" not in (out / "sub-02.html").read_text()
    assert "resampled to the network" in (out / "sub-02.html").read_text()
    assert "it ran on the aligned grid" in (out / "logs/CITATION.md").read_text()
    report = validate(out)
    assert report is not None
    assert not report.errors


@pytest.fixture
def broken_dataset(head_dataset, tmp_path) -> Path:
    """Sub-01 without an echo time, sub-02 as it was."""
    dataset = shutil.copytree(head_dataset, tmp_path / "bids")
    path = dataset / "sub-01/anat/sub-01_echo-2_part-phase_MEGRE.json"
    sidecar = json.loads(path.read_text())
    del sidecar["EchoTime"]
    path.write_text(json.dumps(sidecar))
    return dataset


def test_a_bad_subject_does_not_stop_the_others(broken_dataset, tmp_path, capsys):
    """Bad metadata of sub-01, found by the query; sub-02 is processed all the same."""
    code = app.main(
        [str(broken_dataset), str(tmp_path / "out"), "participant", "-w", str(tmp_path / "work"),
         "--skip-bids-validation", "--inversion", "tkd", "--background", "vsharp", "--two-pass"]
    )  # fmt: skip
    assert code == 65
    message = capsys.readouterr().err
    assert "sub-01" in message
    assert "EchoTime" in message
    assert "doi.org" in (tmp_path / "out/logs/CITATION.md").read_text()
    assert (tmp_path / "out/sub-02/anat/sub-02_Chimap.nii.gz").is_file()
    assert not (tmp_path / "out/sub-01/anat").exists()
    assert "EchoTime" in (tmp_path / "out/sub-01.html").read_text()


def test_a_step_that_fails_is_reported_and_does_not_stop_the_others(head_dataset, tmp_path, capfd):
    """An unusable weights file is only met in the middle of the corridor."""
    weights = tmp_path / "broken.safetensors"
    weights.write_bytes(b"nothing")
    code = app.main(
        [str(head_dataset), str(tmp_path / "out"), "participant", "-w", str(tmp_path / "work"),
         "--skip-bids-validation", "--participant-label", "01", "--weights", str(weights)]
    )  # fmt: skip
    assert code == 65
    out, message = capfd.readouterr()
    assert "Traceback" not in out + message  # that is in the crash file
    assert "sub-01: inversion failed" in message
    assert "broken.safetensors" in message
    assert list((tmp_path / "out/sub-01/log").glob("*/crash-*.txt"))
    assert "broken.safetensors" in (tmp_path / "out/sub-01.html").read_text()
    assert "broken.safetensors" in failure_path(tmp_path / "out", "sub-01").read_text()


def test_a_subject_that_fails_validation_does_not_stop_the_others(broken_dataset, capsys):
    call = [str(broken_dataset), str(broken_dataset.parent / "out"), "participant", "--dry-run"]
    assert app.main(call) == 0
    listed = capsys.readouterr().out
    assert "sub-01: NOT USABLE" in listed
    assert "sub-02: MEGRE" in listed


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (["--participant-label", "99"], 18, "99"),
        (["--bids-filter-file", "missing.json"], 64, "missing.json"),
        (["-w", "{bids}/work"], 64, "work"),
    ],
)
def test_wrong_calls_have_their_exit_codes(head_dataset, tmp_path, capsys, arguments, code, named):
    arguments = [argument.format(bids=head_dataset) for argument in arguments]
    call = [str(head_dataset), str(tmp_path / "out"), "participant", "--skip-bids-validation"]
    assert app.main([*call, *arguments]) == code
    assert named in capsys.readouterr().err


def test_output_inside_the_input_is_refused(head_dataset, capsys):
    call = [str(head_dataset), str(head_dataset / "out"), "participant", "--skip-bids-validation"]
    assert app.main(call) == 64
    assert "derivatives" in capsys.readouterr().err


def test_an_empty_dataset_is_no_input(tmp_path, capsys):
    (tmp_path / "bids").mkdir()
    call = [str(tmp_path / "bids"), str(tmp_path / "out"), "participant"]
    assert app.main([*call, "--skip-bids-validation"]) == 66


def test_weights_listed():
    assert list(available_weights()) == ["isdu_k2", "isdu_k4", "isdu_ms3"]
