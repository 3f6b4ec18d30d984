"""Resampling and derivatives with a registration that does nothing, and ANTs where it is there."""

import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from skeleton import make_dataset
from template.synthetic import AFFINE, NAME, SHAPE, SameWorld, drawn_head, moved, write_template

from isdu_bids import images
from isdu_bids.bids.dataset import write_dataset_files
from isdu_bids.bids.derivatives import write_output
from isdu_bids.bids.provenance import sidecar
from isdu_bids.bids.query import find_acquisitions
from isdu_bids.bids.validation import find_validator, validate
from isdu_bids.interfaces.template import RegisterTemplate, WriteTemplate
from isdu_bids.quality.template import flag_template, measure_template
from isdu_bids.template.find import find_template
from isdu_bids.template.register import resample_inside
from isdu_bids.template.spaces import OutputSpace

PALLIDUM = 52
#: What the head does between template and scan: turns, shrinks and shifts (mm).
TURN = np.deg2rad(8)
WORLD = np.array([
    [0.95 * np.cos(TURN), -np.sin(TURN), 0, 6.0],
    [np.sin(TURN), 0.95 * np.cos(TURN), 0, -5.0],
    [0, 0, 1.04, 7.0],
    [0, 0, 0, 1],
])  # fmt: skip


class RegisterByNothing(RegisterTemplate):
    registration = SameWorld()


class RegisterAndFail(RegisterTemplate):
    class registration:  # noqa: N801
        @staticmethod
        def register(moving, fixed, folder):
            raise RuntimeError("Registration failed with error code 1")


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return find_template(OutputSpace(NAME), write_template(tmp_path_factory.mktemp("tf")))


def scan_files(folder, world):
    """The template's head as a scan: moved, in another contrast, iron in one pallidum."""
    labels, t1w, brain = drawn_head()
    labels, brain = moved(labels, world, 0), moved(brain.astype(np.uint8), world, 0)
    magnitude = moved(np.where(t1w > 0, 1.2 - t1w, 0).astype(np.float32), world, 1)
    maps = {
        "magnitude": np.stack([magnitude, 0.5 * magnitude], axis=-1),
        "brain_mask": brain,
        "eroded_mask": brain,
        "chi_ppm": np.where(labels == PALLIDUM, 0.2, 0.01).astype(np.float32) * brain,
        "r2star": 20.0 * brain,
    }
    for name, data in maps.items():
        images.save_volume(data, AFFINE, folder / f"{name}.nii")
    return {name: str(folder / f"{name}.nii") for name in maps}


def write_native(out, scan, files):
    """Native derivatives, as another step writes them before; returns its summary."""
    for key in ("chi_ppm", "r2star", "brain_mask", "eroded_mask"):
        volume = images.load_volume(files[key])
        data = volume.data.astype(np.uint8) if key.endswith("mask") else volume.data
        fields = sidecar(scan, key, sources=["bids::x"], flags=["an example"])
        write_output(out, scan, key, data, volume.affine, fields)
    summary = out / "sub-01" / "log" / "summary.json"
    summary.parent.mkdir(parents=True)
    summary.write_text("{}")
    return str(summary)


def run(step, folder):
    folder.mkdir()
    return step.run(cwd=str(folder)).outputs


def test_maps_keep_their_values_up_to_the_rim_of_the_mask(tmp_path):
    """Half a voxel of shift: plain interpolation would halve the map at the rim."""
    inside = np.zeros(SHAPE, np.uint8)
    inside[10:30, 10:30, 10:30] = 1
    grid = AFFINE.copy()
    grid[:3, 3] += 1.0
    images.save_volume(np.zeros(SHAPE), grid, tmp_path / "grid.nii")
    chi = np.full(SHAPE, 0.3)
    maps, mask = resample_inside(
        {"chi": chi}, inside, AFFINE, grid=tmp_path / "grid.nii",
        transform=tmp_path / "there.h5", folder=tmp_path, registration=SameWorld(),
    )  # fmt: skip
    assert mask.any()
    np.testing.assert_allclose(maps["chi"][mask], 0.3, rtol=1e-5)
    assert np.all(maps["chi"][~mask] == 0)


def test_overlap_and_its_flag():
    brain = np.zeros((10, 10, 10), bool)
    brain[2:8] = True
    half = brain.copy()
    half[5:] = False
    assert measure_template("NKI", brain, brain) == {"template_dice_NKI": 1.0}
    measures = measure_template("NKI", half, brain)
    assert measures["template_dice_NKI"] == pytest.approx(2 / 3)
    (flag,) = flag_template(measures | {"chi_sd_ppm": 0.0})
    assert flag.name == "template_registration_poor"
    assert "NKI 0.67" in flag.message
    assert flag_template({"template_dice_NKI": 0.95}) == []
    assert flag_template({}) == []


@pytest.fixture(scope="module")
def written(template, tmp_path_factory):
    """Derivative dataset with the maps of one scan, and the results of the registration."""
    folder = tmp_path_factory.mktemp("written")
    raw = make_dataset(folder / "raw")
    (scan,) = find_acquisitions(raw).acquisitions
    files = scan_files(folder, np.eye(4))
    results = run(RegisterByNothing(template=template, **files), folder / "register")
    kept = {name: getattr(results, name) for name in RegisterTemplate.maps}
    summary = write_native(folder / "out", scan, files)
    write = WriteTemplate(
        acquisition=scan, output_dir=str(folder / "out"), template=template, summary=summary, **kept
    )
    run(write, folder / "write")
    write_dataset_files(folder / "out", raw)
    return folder / "out", results


def test_derivatives_of_a_template_space(written, template):
    out, results = written
    names = {path.name for path in (out / "sub-01/anat").iterdir()}
    stem = f"sub-01_space-{NAME}"
    kinds = ("Chimap", "R2starmap", "desc-brain_mask", "desc-eroded_mask")
    images_and_sidecars = {
        f"{start}_{kind}.{end}"
        for start in (stem, "sub-01")
        for kind in kinds
        for end in ("nii.gz", "json")
    }
    assert names == images_and_sidecars | {
        f"sub-01_from-MEGRE_to-{NAME}_mode-image_xfm.h5",
        f"sub-01_from-{NAME}_to-MEGRE_mode-image_xfm.h5",
    }
    assert (out / f"sub-01/anat/sub-01_from-{NAME}_to-MEGRE_mode-image_xfm.h5").read_bytes() == (
        b"back"
    )
    chi = nib.load(out / f"sub-01/anat/{stem}_Chimap.nii.gz")
    np.testing.assert_allclose(chi.affine, AFFINE)
    labels, *_ = drawn_head()
    assert chi.get_fdata()[labels == PALLIDUM] == pytest.approx(0.2, abs=1e-6)
    sidecar = json.loads((out / f"sub-01/anat/{stem}_Chimap.json").read_text())
    assert sidecar["Units"] == "ppm"
    assert sidecar["Flags"] == ["an example"]
    assert sidecar["SpatialReference"] == template.reference
    assert sidecar["Sources"] == ["bids::sub-01/anat/sub-01_Chimap.nii.gz"]
    assert json.loads(Path(results.measures).read_text()) == {f"template_dice_{NAME}": 1.0}
    methods = json.loads(Path(results.notes).read_text())["sentences"]
    assert "10.1016/j.media.2007.06.004" in methods[0][1]


@pytest.mark.skipif(find_validator() is None, reason="bids-validator-deno is not installed")
def test_the_validator_accepts_template_spaces(written, template, tmp_path):
    out, results = written
    report = validate(out)
    assert (report.errors, report.warnings) == ((), ())
    raw = make_dataset(tmp_path / "raw")
    (scan,) = find_acquisitions(raw).acquisitions
    kept = {name: getattr(results, name) for name in RegisterTemplate.maps}
    numbered = replace(template, space=OutputSpace(NAME, 1))
    other = tmp_path / "out"
    summary = write_native(other, scan, scan_files(tmp_path, np.eye(4)))
    write = WriteTemplate(
        acquisition=scan, output_dir=str(other), template=numbered, summary=summary, **kept
    )
    run(write, tmp_path / "write")
    write_dataset_files(other, raw)
    assert (other / f"sub-01/anat/sub-01_space-{NAME}_res-1_Chimap.nii.gz").exists()
    report = validate(other)
    assert (report.errors, report.warnings) == ((), ())


def test_the_figure_is_drawn_and_goes_with_a_later_failure(written, template, tmp_path):
    out, _ = written
    (figure,) = (out / "sub-01/figures").glob("*_desc-template_Chimap.webp")
    assert figure.stat().st_size > 10_000
    copy = tmp_path / "out/sub-01/figures" / figure.name
    copy.parent.mkdir(parents=True)
    copy.write_bytes(b"")
    (scan,) = find_acquisitions(make_dataset(tmp_path / "raw")).acquisitions
    failed = run(
        RegisterAndFail(template=template, **scan_files(tmp_path, np.eye(4))), tmp_path / "f"
    )
    notes = json.loads(Path(failed.notes).read_text())
    assert notes["flags"] == ["template_registration_failed"]
    assert notes["sentences"] == []
    assert "error code 1" in notes["summary"][f"template_error_{NAME}"]
    summary = tmp_path / "summary.json"
    summary.write_text("{}")
    write = WriteTemplate(
        acquisition=scan, output_dir=str(tmp_path / "out"), template=template, summary=str(summary)
    )
    run(write, tmp_path / "w")
    assert not copy.exists()
    assert not (tmp_path / "out/sub-01/anat").exists()


def test_ants_recovers_a_known_movement(template, tmp_path):
    """Brain masks overlap, and iron lands in the template's right pallidum and nowhere else."""
    pytest.importorskip("ants")
    results = run(
        RegisterTemplate(template=template, **scan_files(tmp_path, WORLD)), tmp_path / "a"
    )
    measures = json.loads(Path(results.measures).read_text())
    assert measures[f"template_dice_{NAME}"] > 0.95
    labels, *_ = drawn_head()
    chi = images.load_volume(results.chi_ppm).data
    found = np.mean(np.argwhere(chi > 0.1), axis=0)
    truth = np.mean(np.argwhere(labels == PALLIDUM), axis=0)
    assert np.linalg.norm(4.0 * (found - truth)) < 4.0  # mm: one voxel
