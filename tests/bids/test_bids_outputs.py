"""The whole table, written for every kind of name, read back and judged by the real validator."""

import json
import shutil
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from skeleton import AFFINE, SHAPE, make_dataset

from isdu_bids.bids.acquisition import Acquisition
from isdu_bids.bids.dataset import write_dataset_files
from isdu_bids.bids.derivatives import write_file, write_output, write_outputs
from isdu_bids.bids.names import parse_name
from isdu_bids.bids.outdated import remove_outdated
from isdu_bids.bids.outputs import (
    OUTPUTS,
    RAW_MAGNITUDE,
    RAW_PHASE,
    output_path,
    transform_path,
    with_one_field_name,
)
from isdu_bids.bids.provenance import raw_uri, sidecar
from isdu_bids.bids.query import find_acquisitions
from isdu_bids.bids.validation import find_validator, validate
from isdu_bids.errors import DataError, OutputError
from isdu_bids.files import beside

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
    "label_names": {
        "index": [1, 2],
        "name": ["left thing", "right thing"],
        "abbreviation": ["L", "R"],
    },
    "regions": {"index": np.array([1, 2]), "name": ["a", "b"], "mean": [np.float32(0.05), np.nan]},
}

_REFERENCE = {"region": "CSF", "mean_ppm": 0.01, "sd_ppm": None, "n_voxels": 12}
#: What processing says, by the names that the steps give it.
FACTS = {
    "phase_scaling": "siemens: integers",
    "mask": "combined",
    "mask_reference": "10.1002/hbm.10062",
    "mask_parameters": {"threshold": 0.2},
    "offset": "monopolar",
    "unwrapping": "romeo",
    "unwrapping_reference": "10.1002/mrm.28563",
    "combination": "phase_snr",
    "combination_reference": "10.1002/mrm.28563",
    "sign_correlation": 0.7,
    "background": "jdf",
    "background_reference": "10.1002/mrm.26331",
    "background_device": "cpu",
    "inversion": "isdu",
    "inversion_reference": "vaddadi2025",
    "inversion_device": "cuda:0",
    "weights": "isdu_k4",
    "weights_sha256": "ab" * 32,
    "weights_description": "preliminary weights: an example",
    "reference": "whole mask",
    "reference_mean_ppm": 0.0,
    "reference_sd_ppm": 0.03,
    "reference_n_voxels": 99,
    "relaxation": "arlo",
    "relaxation_reference": "10.1002/mrm.25137",
    "segmentation": "synthseg_2.0",
    "segmentation_reference": "10.1016/j.media.2023.102789",
    "segmentation_sha256": "cd" * 32,
    "segmentation_device": "cpu",
    "brain_reference": _REFERENCE,
    "csf_reference": _REFERENCE,
}

needs_validator = pytest.mark.skipif(
    find_validator() is None, reason="bids-validator-deno is not installed"
)


def example(key):
    """Data of the right kind for an output."""
    if key in TABLES:
        return TABLES[key]
    dtype = {"labels": np.int32, "brain_mask": bool, "eroded_mask": bool}.get(key, np.float32)
    return np.arange(np.prod(SHAPE)).reshape(SHAPE).astype(dtype)


def examples(scan):
    """A map for every row of the table."""
    n_echoes = len(scan.echo_times_s)
    return {
        key: np.stack([example(key)] * n_echoes) if output.per_echo else example(key)
        for key, output in OUTPUTS.items()
    }


def write_scan(output_dir, scan, maps, **changed):
    how = {"facts": FACTS, "flags_of": lambda steps: []} | changed
    return write_outputs(output_dir, scan, maps, AFFINE, **how)


def read_sidecar(path):
    return json.loads(beside(path, ".json").read_text())


def write_all(output_dir, raw):
    """Write every output of every scan as the workflow does; return their paths."""
    scans = find_acquisitions(raw).acquisitions
    assert [scan.name for scan in scans] == list(SCANS)
    paths = []
    for scan in scans:
        write_fields = scan.name not in with_one_field_name(scans)
        paths += write_scan(output_dir, scan, examples(scan), write_fields=write_fields)
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
    np.testing.assert_array_equal(np.asanyarray(chi.dataobj), example("chi_ppm"))


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
    fields = sidecar(scan, "chi_ppm", sources=["bids::x"], facts=FACTS, flags=["streaks"])
    processing = fields.pop("Processing")
    assert fields == {
        "Description": "Quantitative susceptibility map",
        "Sources": ["bids::x"],
        "SkullStripped": True,
        "Units": "ppm",
        "EchoTime": [0.004, 0.008, 0.012],
        "MagneticFieldStrength": 3.0,
        "Manufacturer": "Skeleton",
        "FlipAngle": 15,
        "EstimationAlgorithm": "isdu",
        "EstimationReference": "Vaddadi V, Mathew RS, Yalavarthy PK. ISDU-QSMNet: iteration "
        "specific denoising with unshared weights for improved QSM reconstruction. NMR in "
        "Biomedicine, 2025.",
        "Device": "cuda:0",
        "PhaseScaling": "siemens: integers",
        "Weights": "isdu_k4",
        "WeightsSHA256": "ab" * 32,
        "WeightsDescription": "preliminary weights: an example",
        "ReferenceRegion": "whole mask",
        "ReferenceMeanPpm": 0.0,
        "ReferenceStandardDeviationPpm": 0.03,
        "ReferenceNumberOfVoxels": 99,
        "Flags": ["streaks"],
    }
    assert processing["background"] == "jdf"
    assert not {name for name in processing if name.startswith(("relaxation", "segmentation"))}


COMPUTED_BY = {
    "Chimap": "isdu",
    "T2starmap": "arlo",
    "R2starmap": "arlo",
    "S0map": "arlo",
    "MEGRE": "romeo",
    "desc-brain_mask": "combined",
    "desc-eroded_mask": "jdf",
    "desc-total_fieldmap": "phase_snr",
    "desc-sd_fieldmap": "phase_snr",
    "desc-local_fieldmap": "jdf",
    "dseg": "synthseg_2.0",
    "stats": "synthseg_2.0",
}


def test_every_map_names_the_method_that_made_it(written):
    """Only sums of squares have none: their description says it all."""
    found = set()
    for path in (path for path in written[1] if "sub-01" in path.name):
        made = [m for name, m in COMPUTED_BY.items() if path.name.split(".")[0].endswith(name)]
        assert read_sidecar(path).get("EstimationAlgorithm") == (made[0] if made else None), path
        found |= {path.name} if not made else set()
    assert found == {"sub-01_part-mag_desc-combined_T2starw.nii.gz", "sub-01_magnitude.nii.gz"}


def test_a_map_tells_of_its_own_steps_only(written):
    of = {p.name.removeprefix("sub-01_"): read_sidecar(p) for p in written[1] if "sub-01" in p.name}
    relaxation, csf = of["R2starmap.nii.gz"], of["desc-csf_Chimap.nii.gz"]
    assert relaxation["Processing"] == {
        name: FACTS[name]
        for name in ("mask", "mask_reference", "mask_parameters", "relaxation",
                     "relaxation_reference")
    }  # fmt: skip
    assert "Weights" not in relaxation
    assert csf["WeightsDescription"].startswith("preliminary")
    assert (csf["ReferenceRegion"], csf["ReferenceMeanPpm"]) == ("CSF", 0.01)
    assert of["desc-sd_Chimap.nii.gz"]["Weights"] == "isdu_k4"
    assert of["seg-synthseg_desc-chi_stats.tsv"]["CSFReference"]["ReferenceNumberOfVoxels"] == 12
    assert of["seg-synthseg_dseg.nii.gz"]["SegmentationWeightsSHA256"] == "cd" * 32
    assert of["seg-synthseg_dseg.nii.gz"]["Manual"] is False


def test_every_row_of_the_table_rests_on_others_or_on_the_scan():
    known = {*OUTPUTS, RAW_MAGNITUDE, RAW_PHASE}
    steps = {fact for fact in FACTS if fact.count("_") == 0}
    steps |= {"phase_scaling", "sign", "two_pass", "uncertainty", "csf_reference"}
    for output in OUTPUTS.values():
        assert set(output.sources) <= known - {output.key}
        assert output.sources
        assert set(output.made_by) <= steps | {"brain_reference"}, output.key


def test_sources_lead_from_the_map_to_the_raw_images(written):
    out = written[0]
    start = "bids::sub-01/"
    (chi,) = [path for path in written[1] if path.name == "sub-01_Chimap.nii.gz"]
    assert read_sidecar(chi)["Sources"] == [
        f"{start}fmap/sub-01_desc-local_fieldmap.nii.gz",
        f"{start}anat/sub-01_desc-eroded_mask.nii.gz",
    ]
    seen, to_see, raw = set(), [chi], set()
    while to_see:
        path = to_see.pop()
        for uri in read_sidecar(path)["Sources"]:
            if uri.startswith("bids:raw:"):
                raw.add(uri)
            elif uri not in seen:
                seen.add(uri)
                to_see.append(out / uri.removeprefix("bids::"))
    assert len(raw) == 6
    assert all((out.parent / "raw" / uri.removeprefix("bids:raw:")).exists() for uri in raw)


def test_fields_that_are_not_written_stand_for_what_they_were_made_from(written):
    sources = read_sidecar(written[0] / "sub-04/anat/sub-04_rec-x_Chimap.nii.gz")["Sources"]
    assert not [uri for uri in sources if "fmap" in uri]
    assert "bids::sub-04/anat/sub-04_rec-x_echo-1_part-phase_desc-unwrapped_MEGRE.nii.gz" in sources


def test_a_map_that_was_not_made_is_no_source(tmp_path):
    (scan,) = find_acquisitions(make_dataset(tmp_path / "raw")).acquisitions
    maps = {key: data for key, data in examples(scan).items() if key != "r2star"}
    paths = write_scan(tmp_path / "out", scan, maps)
    (stats,) = [path for path in paths if path.name.endswith("_stats.tsv")]
    assert not [uri for uri in read_sidecar(stats)["Sources"] if "raw" in uri or "R2" in uri]


def test_masks_and_labels_of_the_user_are_their_own_source(tmp_path):
    (scan,) = find_acquisitions(make_dataset(tmp_path / "raw")).acquisitions
    scan = replace(scan, mask_file=tmp_path / "my_mask.nii.gz", dseg_file=tmp_path / "my_dseg.nii")
    facts = FACTS | {"mask": "user", "segmentation": "user"}
    paths = write_scan(tmp_path / "out", scan, examples(scan), facts=facts)
    mask, dseg = (next(p for p in paths if end in p.name) for end in ("desc-brain", "_dseg.nii"))
    assert read_sidecar(mask)["Sources"] == [(tmp_path / "my_mask.nii.gz").as_uri()]
    assert read_sidecar(dseg)["Sources"] == [(tmp_path / "my_dseg.nii").as_uri()]
    assert dseg.name == "sub-01_seg-user_dseg.nii.gz"
    assert "Manual" not in read_sidecar(dseg)
    write_dataset_files(tmp_path / "out", tmp_path / "raw")
    if find_validator():
        report = validate(tmp_path / "out")
        assert (report.errors, report.warnings) == ((), ())


def test_fields_come_in_ppm_and_are_stored_in_hz(tmp_path):
    (scan,) = find_acquisitions(make_dataset(tmp_path / "raw")).acquisitions
    (path,) = write_scan(tmp_path, scan, {"local_field_ppm": np.ones(SHAPE)})
    np.testing.assert_allclose(nib.load(path).get_fdata(), 127.73, rtol=1e-3)


def test_sources_are_found_below_a_folder_with_the_name_of_the_subject(tmp_path):
    raw = make_dataset(tmp_path / "sub-01" / "raw", {"sub-01_ses-1": {}})
    (scan,) = find_acquisitions(raw).acquisitions
    assert raw_uri(scan.phase_files[0], "01").startswith("bids:raw:sub-01/ses-1/anat/")


def test_tables_say_not_available_where_there_is_no_value(written):
    text = (written[0] / "sub-01/anat/sub-01_seg-synthseg_desc-chi_stats.tsv").read_text()
    assert text == "index\tname\tmean\n1\ta\t0.05\n2\tb\tn/a\n"


def test_columns_of_unequal_length_are_refused(tmp_path):
    with pytest.raises(ValueError, match="unequal length"):
        write_file(tmp_path / "x.tsv", {"index": [1, 2], "name": ["a"]}, AFFINE)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_maps_with_holes_are_refused(tmp_path, value):
    scan = Acquisition("01", field_strength_t=3.0)
    with pytest.raises(DataError, match=r"sub-01_Chimap\.nii\.gz .* not finite"):
        write_output(tmp_path, scan, "chi_ppm", np.full(SHAPE, value), AFFINE, {})
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_misuse_is_refused(tmp_path):
    scan = Acquisition("01", field_strength_t=3.0, echo_times_s=(0.004,))
    with pytest.raises(ValueError, match="per_echo is True"):
        output_path(tmp_path, scan, "unwrapped")
    with pytest.raises(ValueError, match="per_echo is False"):
        output_path(tmp_path, scan, "chi_ppm", echo=1)
    with pytest.raises(ValueError, match="3D array"):
        write_output(tmp_path, scan, "chi_ppm", np.ones((*SHAPE, 2)), AFFINE, {})
    with pytest.raises(KeyError):
        output_path(tmp_path, scan, "field")


def test_unwritable_folder_is_an_output_error(tmp_path):
    (tmp_path / "file").touch()
    scan = Acquisition("01", field_strength_t=3.0)
    with pytest.raises(OutputError, match="cannot be written"):
        write_output(tmp_path / "file", scan, "chi_ppm", np.ones(SHAPE), AFFINE, {})


class TestOutdated:
    """A scan's folder after a run with other settings."""

    SCAN = Acquisition("01", run="1", field_strength_t=3.0, echo_times_s=(0.01,))
    OTHER = Acquisition("01", field_strength_t=3.0, echo_times_s=(0.01,))

    def fill(self, folder):
        volume = np.ones(SHAPE, np.float32)
        mni = {"space": "MNI"}
        for scan in (self.SCAN, self.OTHER):
            for key, entities in (
                ("chi_ppm", {}),
                ("chi_ppm", mni),
                ("labels", {}),
                ("local_field_ppm", {}),
            ):
                write_output(folder, scan, key, volume, AFFINE, {}, entities)
            transform_path(folder, scan, "MEGRE", "MNI").touch()
        return {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")}

    def gone(self, folder, before):
        return before - {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")}

    def test_what_this_run_did_not_write_goes_with_its_sidecar(self, tmp_path):
        before = self.fill(tmp_path)
        kept = [output_path(tmp_path, self.SCAN, key) for key in ("chi_ppm", "local_field_ppm")]
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
        remove_outdated(tmp_path, self.SCAN, [output_path(tmp_path, self.SCAN, "chi_ppm")])
        left = {path.name for path in folder.glob("sub-01_run-1_*")}
        assert left == {
            *foreign, "sub-01_run-1_extra", "sub-01_run-1_Chimap.nii.gz", "sub-01_run-1_Chimap.json"
        }  # fmt: skip

    def test_field_maps_that_may_be_of_another_reconstruction_stay(self, tmp_path):
        common = {"field_strength_t": 3.0, "echo_times_s": (0.01,)}
        first, second = (Acquisition("01", reconstruction=rec, **common) for rec in "ab")
        volume = np.ones(SHAPE, np.float32)
        field = write_output(tmp_path, first, "local_field_ppm", volume, AFFINE, {})
        chi = write_output(tmp_path, second, "chi_ppm", volume, AFFINE, {})  # fields would clash
        remove_outdated(tmp_path, second, [chi])
        assert field.exists()

    def test_a_template_that_is_asked_for_no_more(self, tmp_path):
        before = self.fill(tmp_path)
        native = [
            output_path(tmp_path, self.SCAN, key)
            for key in ("chi_ppm", "labels", "local_field_ppm")
        ]
        remove_outdated(tmp_path, self.SCAN, native)
        stem = "sub-01/anat/sub-01_run-1"
        maps = {f"{stem}_space-MNI_Chimap.{end}" for end in ("nii.gz", "json")}
        transforms = {f"{stem}_from-MEGRE_to-MNI_mode-image_xfm.h5"}
        assert self.gone(tmp_path, before) == maps | transforms
        self.fill(tmp_path)
        remove_outdated(tmp_path, self.SCAN, space="MNI")  # its registration failed
        assert self.gone(tmp_path, before) == maps | transforms
