"""The whole table, written for every kind of name, read back and judged by the real validator."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest
from skeleton import AFFINE, SHAPE, make_dataset

from isdu_bids.bids.acquisition import Acquisition
from isdu_bids.bids.dataset import write_dataset_files
from isdu_bids.bids.names import parse_name
from isdu_bids.bids.outputs import (
    OUTPUTS,
    field_names_clash,
    output_path,
    output_sidecar,
    raw_uri,
    remove_outdated,
    transform_path,
    write_output,
)
from isdu_bids.bids.query import find_acquisitions
from isdu_bids.bids.validation import find_validator, validate
from isdu_bids.errors import DataError, OutputError

SCANS = {
    "sub-01": {},
    "sub-02_ses-1": {},
    "sub-02_ses-2_acq-a_run-1": {"parts": ("real", "imag")},
    "sub-02_ses-2_acq-a_run-2": {"four_d": True},
    "sub-02_ses-2_acq-b_run-1": {"suffix": "T2starw", "echo_times_s": (0.02,)},
    "sub-03_acq-a_rec-norm_run-01": {},
    "sub-04_rec-x": {},
    "sub-04_rec-y": {},
}

TABLES = {
    "dseg_labels": {
        "index": [1, 2],
        "name": ["left thing", "right thing"],
        "abbreviation": ["L", "R"],
    },
    "stats": {"index": np.array([1, 2]), "name": ["a", "b"], "mean": [np.float32(0.05), np.nan]},
}

needs_validator = pytest.mark.skipif(
    find_validator() is None, reason="bids-validator-deno is not installed"
)


def example(key):
    """Data of the right kind for an output."""
    if key in TABLES:
        return TABLES[key]
    dtype = {"dseg": np.int32, "brain_mask": bool, "eroded_mask": bool}.get(key, np.float32)
    return np.arange(np.prod(SHAPE)).reshape(SHAPE).astype(dtype)


def write_all(output_dir, raw):
    """Write every output of every scan as the workflow does; return their paths."""
    scans = find_acquisitions(raw).acquisitions
    assert [scan.name for scan in scans] == list(SCANS)
    paths = []
    for scan in scans:
        for key, output in OUTPUTS.items():
            if output.datatype == "fmap" and field_names_clash(scan, scans):
                continue
            echoes = range(1, len(scan.echo_times_s) + 1) if output.per_echo else [None]
            for echo in echoes:
                data = example(key)
                paths.append(write_output(output_dir, scan, key, data, AFFINE, {}, echo))
    write_dataset_files(output_dir, raw)
    return paths


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outputs")
    raw = make_dataset(folder / "raw", SCANS)
    return folder / "out", write_all(folder / "out", raw)


@needs_validator
def test_the_validator_finds_neither_errors_nor_warnings(written):
    report = validate(written[0])
    assert report.errors == ()
    assert report.warnings == ()


@needs_validator
def test_the_validator_finds_what_is_wrong(written, tmp_path):
    copy = shutil.copytree(written[0], tmp_path / "copy")
    sidecar = copy / "sub-01" / "anat" / "sub-01_Chimap.json"
    sidecar.write_text("{}")
    (copy / "sub-01" / "anat" / "sub-01_desc-unwrapped_phase.nii.gz").touch()
    report = validate(copy)
    assert any("SkullStripped" in line and "sub-01_Chimap" in line for line in report.errors)
    assert any("desc-unwrapped_phase" in line for line in report.errors)
    assert any("Description" in line for line in report.warnings)


def test_every_output_has_its_own_name(written):
    assert len(set(written[1])) == len(written[1])


def test_golden_names_of_a_scan_with_all_entities(written):
    out, paths = written
    stem = "sub-03_acq-a_rec-norm_run-01"
    names = {p.relative_to(out / "sub-03").as_posix() for p in paths if "sub-03" in p.name}
    assert names == {
        f"anat/{stem}_Chimap.nii.gz",
        f"anat/{stem}_desc-csf_Chimap.nii.gz",
        f"anat/{stem}_desc-sd_Chimap.nii.gz",
        f"anat/{stem}_T2starmap.nii.gz",
        f"anat/{stem}_R2starmap.nii.gz",
        f"anat/{stem}_S0map.nii.gz",
        f"anat/{stem}_part-mag_desc-combined_T2starw.nii.gz",
        f"anat/{stem}_echo-1_part-phase_desc-unwrapped_MEGRE.nii.gz",
        f"anat/{stem}_echo-2_part-phase_desc-unwrapped_MEGRE.nii.gz",
        f"anat/{stem}_echo-3_part-phase_desc-unwrapped_MEGRE.nii.gz",
        f"anat/{stem}_desc-brain_mask.nii.gz",
        f"anat/{stem}_desc-eroded_mask.nii.gz",
        f"anat/{stem}_seg-synthseg_dseg.nii.gz",
        f"anat/{stem}_seg-synthseg_dseg.tsv",
        f"anat/{stem}_seg-synthseg_desc-chi_stats.tsv",
        "fmap/sub-03_acq-a_run-01_desc-total_fieldmap.nii.gz",
        "fmap/sub-03_acq-a_run-01_desc-local_fieldmap.nii.gz",
        "fmap/sub-03_acq-a_run-01_desc-sd_fieldmap.nii.gz",
        "fmap/sub-03_acq-a_run-01_magnitude.nii.gz",
    }


def test_names_parse_back_to_scan_and_table(written):
    for path in written[1]:
        entities, suffix, extension = parse_name(path)
        matching = [
            output
            for output in OUTPUTS.values()
            if output.suffix == suffix
            and output.extension == extension
            and all(entities.get(k) == v for k, v in output.entities.items())
            and entities.get("desc") == output.entities.get("desc")
        ]
        assert len(matching) == 1, path
        assert path.parent.name == matching[0].datatype
        assert path.is_relative_to(written[0] / f"sub-{entities['sub']}")
        assert ("ses" in entities) == (path.parent.parent.name == f"ses-{entities.get('ses')}")


def test_scans_that_differ_in_rec_only_have_no_fields(written):
    out, _ = written
    assert not (out / "sub-04" / "fmap").exists()
    assert len(list((out / "sub-04" / "anat").glob("*_Chimap.nii.gz"))) == 6


def test_images_hold_what_was_written(written):
    for path in written[1]:
        if path.name.endswith(".nii.gz"):
            image = nib.load(path)
            np.testing.assert_allclose(image.affine, AFFINE)
            assert image.header["sform_code"] == image.header["qform_code"] == 1
    chi, mask, dseg = (
        nib.load(next(p for p in written[1] if p.name == f"sub-01_{name}.nii.gz"))
        for name in ("Chimap", "desc-brain_mask", "seg-synthseg_dseg")
    )
    assert [i.get_data_dtype() for i in (chi, mask, dseg)] == ["float32", "uint8", "int32"]
    np.testing.assert_array_equal(np.asanyarray(chi.dataobj), example("chi"))


def test_every_image_has_a_sidecar_with_its_unit(written):
    units = {
        "Chimap": "ppm",
        "T2starmap": "s",
        "R2starmap": "1/s",
        "fieldmap": "Hz",
        "MEGRE": "rad",
    }
    for path in written[1]:
        if not path.name.endswith(".nii.gz"):
            continue
        sidecar = json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text())
        suffix = parse_name(path)[1]
        assert sidecar["Description"]
        assert sidecar["Sources"]
        assert sidecar.get("Units") == units.get(suffix, sidecar.get("Units"))
        assert ("SkullStripped" in sidecar) == (suffix not in ("mask", "dseg"))
        if suffix == "MEGRE":
            assert isinstance(sidecar["EchoTime"], float)


def test_sidecar_of_chi(tmp_path):
    raw = make_dataset(tmp_path / "raw")
    (scan,) = find_acquisitions(raw).acquisitions
    added = {"EstimationAlgorithm": "ISDU-QSMNet", "Sources": ["bids::sub-01/fmap/x.nii.gz"]}
    path = write_output(tmp_path / "out", scan, "chi", example("chi"), AFFINE, added)
    sidecar = json.loads(path.with_name("sub-01_Chimap.json").read_text())
    assert sidecar == {
        "Description": "Quantitative susceptibility map",
        "Sources": ["bids::sub-01/fmap/x.nii.gz"],
        "SkullStripped": True,
        "Units": "ppm",
        "EchoTime": [0.004, 0.008, 0.012],
        "MagneticFieldStrength": 3.0,
        "Manufacturer": "Skeleton",
        "FlipAngle": 15,
        "EstimationAlgorithm": "ISDU-QSMNet",
    }


def test_sources_are_the_raw_images(tmp_path):
    raw = make_dataset(tmp_path / "sub-01" / "raw", {"sub-01_ses-1": {}})
    (scan,) = find_acquisitions(raw).acquisitions
    sources = output_sidecar(scan, "total_field")["Sources"]
    assert len(sources) == 6
    assert all((raw / uri.removeprefix("bids:raw:")).exists() for uri in sources)
    assert raw_uri(scan.phase_files[0], "01").startswith("bids:raw:sub-01/ses-1/anat/")


def test_tables_say_not_available_where_there_is_no_value(written):
    text = (written[0] / "sub-01/anat/sub-01_seg-synthseg_desc-chi_stats.tsv").read_text()
    assert text == "index\tname\tmean\n1\ta\t0.05\n2\tb\tn/a\n"


def test_columns_of_unequal_length_are_refused(tmp_path):
    scan = Acquisition("01", field_strength_t=3.0)
    with pytest.raises(ValueError, match="zip"):
        write_output(tmp_path, scan, "stats", {"index": [1, 2], "name": ["a"]})


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_maps_with_holes_are_refused(tmp_path, value):
    scan = Acquisition("01", field_strength_t=3.0)
    with pytest.raises(DataError, match=r"sub-01_Chimap\.nii\.gz .* not finite"):
        write_output(tmp_path, scan, "chi", np.full(SHAPE, value), AFFINE)
    assert not list(tmp_path.iterdir())


def test_misuse_is_refused(tmp_path):
    scan = Acquisition("01", field_strength_t=3.0, echo_times_s=(0.004,))
    with pytest.raises(ValueError, match="per_echo is True"):
        output_path(tmp_path, scan, "unwrapped")
    with pytest.raises(ValueError, match="per_echo is False"):
        output_path(tmp_path, scan, "chi", echo=1)
    with pytest.raises(ValueError, match="3D array and its affine"):
        write_output(tmp_path, scan, "chi", np.ones(SHAPE))
    with pytest.raises(ValueError, match="3D array and its affine"):
        write_output(tmp_path, scan, "chi", np.ones((*SHAPE, 2)), AFFINE)
    with pytest.raises(KeyError):
        output_path(tmp_path, scan, "field")


def test_unwritable_folder_is_an_output_error(tmp_path):
    (tmp_path / "file").touch()
    scan = Acquisition("01", field_strength_t=3.0)
    with pytest.raises(OutputError, match="cannot be written"):
        write_output(tmp_path / "file", scan, "chi", np.ones(SHAPE), AFFINE)


class TestOutdated:
    """A scan's folder after a run with other settings."""

    SCAN = Acquisition("01", run="1", field_strength_t=3.0, echo_times_s=(0.01,))
    OTHER = Acquisition("01", field_strength_t=3.0, echo_times_s=(0.01,))

    def fill(self, folder):
        volume = np.ones(SHAPE, np.float32)
        mni = {"space": "MNI"}
        for scan in (self.SCAN, self.OTHER):
            for key, entities in (("chi", {}), ("chi", mni), ("dseg", {}), ("local_field", {})):
                write_output(folder, scan, key, volume, AFFINE, entities=entities)
            transform_path(folder, scan, "MEGRE", "MNI").touch()
        return {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")}

    def gone(self, folder, before):
        return before - {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")}

    def test_what_this_run_did_not_write_goes_with_its_sidecar(self, tmp_path):
        before = self.fill(tmp_path)
        kept = [output_path(tmp_path, self.SCAN, key) for key in ("chi", "local_field")]
        remove_outdated(tmp_path, self.SCAN, kept, other_spaces=["MNI"])
        stem = "sub-01/anat/sub-01_run-1_seg-synthseg_dseg"
        assert self.gone(tmp_path, before) == {f"{stem}.nii.gz", f"{stem}.json"}

    def test_files_of_others_stay(self, tmp_path):
        self.fill(tmp_path)
        foreign = [
            "sub-01_run-1_T1w.nii.gz", "sub-01_run-1_desc-manual_mask.nii.gz",
            "sub-01_run-1_desc-preproc_T1w.json", "sub-01_run-1_MEGRE.json",
            "sub-01_run-1_my_notes.txt", "sub-01_run-1_Chimap copy.nii.gz",
            "sub-01_run-1_Chimap-old.nii.gz", "sub-01_run-1_hemi-L_white.surf.gii",
        ]  # fmt: skip
        folder = tmp_path / "sub-01" / "anat"
        for name in foreign:
            (folder / name).touch()
        (folder / "sub-01_run-1_extra").mkdir()
        remove_outdated(tmp_path, self.SCAN, [output_path(tmp_path, self.SCAN, "chi")])
        left = {path.name for path in folder.glob("sub-01_run-1_*")}
        assert left == {
            *foreign, "sub-01_run-1_extra", "sub-01_run-1_Chimap.nii.gz", "sub-01_run-1_Chimap.json"
        }  # fmt: skip

    def test_field_maps_that_may_be_of_another_reconstruction_stay(self, tmp_path):
        common = {"field_strength_t": 3.0, "echo_times_s": (0.01,)}
        first, second = (Acquisition("01", reconstruction=rec, **common) for rec in "ab")
        volume = np.ones(SHAPE, np.float32)
        field = write_output(tmp_path, first, "local_field", volume, AFFINE)
        chi = write_output(tmp_path, second, "chi", volume, AFFINE)  # fields would clash
        remove_outdated(tmp_path, second, [chi])
        assert field.exists()

    def test_a_template_that_is_asked_for_no_more(self, tmp_path):
        before = self.fill(tmp_path)
        native = [output_path(tmp_path, self.SCAN, key) for key in ("chi", "dseg", "local_field")]
        remove_outdated(tmp_path, self.SCAN, native)
        stem = "sub-01/anat/sub-01_run-1"
        maps = {f"{stem}_space-MNI_Chimap.{end}" for end in ("nii.gz", "json")}
        transforms = {f"{stem}_from-MEGRE_to-MNI_mode-image_xfm.h5"}
        assert self.gone(tmp_path, before) == maps | transforms
        self.fill(tmp_path)
        remove_outdated(tmp_path, self.SCAN, space="MNI")  # its registration failed
        assert self.gone(tmp_path, before) == maps | transforms
