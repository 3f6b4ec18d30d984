"""Every way a scan may be stored is found; everything that cannot be right is one clear line."""

import gzip
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from faults import fault
from skeleton import AFFINE, SHAPE, edit_json, make_dataset, volume, write_json, write_nifti

from isdu_bids.bids.labels import label_meaning, label_names
from isdu_bids.bids.query import find_acquisitions, read_filter_file
from isdu_bids.errors import DataError, NoInputError, NoMatchError, UsageError
from isdu_bids.images import load_real_imag, load_stack

ECHO_TIMES_S = (0.004, 0.008, 0.012)


def only(dataset, **options):
    """The one acquisition of a dataset without problems."""
    query = find_acquisitions(dataset, **options)
    assert query.problems == ()
    (scan,) = query.acquisitions
    return scan


def problem(dataset, **options):
    """The one problem of a dataset whose only other subject, if any, is fine."""
    query = find_acquisitions(dataset, **options)
    (found,) = query.problems
    assert found.error is DataError
    assert "\n" not in found.message
    return found.message


def files(dataset, pattern):
    return sorted(dataset.rglob(pattern))


# --- what is accepted ---------------------------------------------------------------------------


@pytest.mark.parametrize("extension", [".nii", ".nii.gz"])
@pytest.mark.parametrize("echo_label", ["{:d}", "{:02d}"])
@pytest.mark.parametrize(
    "name", ["sub-01", "sub-01_ses-1_acq-a_rec-b_run-1", "sub-01_acq-a_run-01"]
)
def test_names_and_compression(tmp_path, name, echo_label, extension):
    make_dataset(tmp_path, {name: {"echo_label": echo_label, "extension": extension}})
    scan = only(tmp_path)
    assert scan.name == name
    assert scan.suffix == "MEGRE"
    assert scan.datatype == "anat"
    assert scan.echo_times_s == ECHO_TIMES_S
    assert scan.field_strength_t == 3.0
    assert scan.flags == ()
    assert scan.phase_units == "rad"
    assert scan.manufacturer == "Skeleton"
    assert scan.mask_file is None
    assert scan.metadata["FlipAngle"] == 15
    assert "EchoTime" not in scan.metadata
    assert [p.is_absolute() and p.exists() for p in scan.source_files] == [True] * 6
    assert load_stack(scan.phase_files).data.shape == (3, *SHAPE)


def test_more_than_nine_echoes_are_in_order(tmp_path):
    echo_times_s = tuple(0.003 * n for n in range(1, 13))
    make_dataset(tmp_path, {"sub-01": {"echo_times_s": echo_times_s}})
    scan = only(tmp_path)
    assert scan.echo_times_s == echo_times_s
    assert "_echo-12_" in scan.magnitude_files[-1].name


def test_real_and_imaginary_parts(tmp_path):
    make_dataset(tmp_path, {"sub-01": {"parts": ("real", "imag")}})
    scan = only(tmp_path)
    assert scan.phase_files == scan.magnitude_files == ()
    assert scan.phase_units == "rad"
    assert scan.echo_times_s == ECHO_TIMES_S
    magnitude, phase = load_real_imag(scan.real_files, scan.imag_files)
    np.testing.assert_allclose(magnitude.data[0], volume("mag", SHAPE), rtol=1e-5)
    np.testing.assert_allclose(phase.data[0][1:-1], volume("phase", SHAPE)[1:-1], atol=1e-5)


def test_all_four_parts_use_magnitude_and_phase(tmp_path):
    make_dataset(tmp_path, {"sub-01": {"parts": ("mag", "phase", "real", "imag")}})
    scan = only(tmp_path)
    assert len(scan.phase_files) == len(scan.magnitude_files) == 3
    assert scan.real_files == scan.imag_files == ()


def test_magnitude_may_lack_its_part_entity(tmp_path):
    make_dataset(tmp_path, {"sub-01": {"parts": ("", "phase")}})
    assert only(tmp_path).magnitude_files[0].name == "sub-01_echo-1_MEGRE.nii.gz"


@pytest.mark.parametrize("echo_label", [None, "{:d}"])
def test_4d_file_with_a_list_of_echo_times(tmp_path, echo_label):
    make_dataset(tmp_path, {"sub-01": {"four_d": True, "echo_label": echo_label}})
    scan = only(tmp_path)
    assert len(scan.phase_files) == 1
    assert scan.echo_times_s == ECHO_TIMES_S
    assert load_stack(scan.phase_files).data.shape == (3, *SHAPE)


def test_single_echo_t2starw(tmp_path):
    how = {"suffix": "T2starw", "echo_times_s": (0.02,), "echo_label": None}
    make_dataset(tmp_path, {"sub-01": how})
    assert only(tmp_path).echo_times_s == (0.02,)


@pytest.mark.parametrize("dtype", ["int16", "uint16", "float64"])
def test_stored_type_of_the_phase_is_handed_on(tmp_path, dtype):
    make_dataset(tmp_path)
    for path in files(tmp_path, "*part-phase*.nii.gz"):
        write_nifti(path, np.arange(np.prod(SHAPE)).reshape(SHAPE), dtype=dtype)
    assert load_stack(only(tmp_path).phase_files).stored_dtype == dtype


def test_all_metadata_at_the_root(tmp_path):
    make_dataset(tmp_path)
    for sidecar in files(tmp_path, "sub-*.json"):
        sidecar.unlink()
    write_json(tmp_path / "MEGRE.json", {"MagneticFieldStrength": 3, "Units": "rad"})
    for number, echo_time in enumerate(ECHO_TIMES_S, start=1):
        write_json(tmp_path / f"echo-{number}_MEGRE.json", {"EchoTime": echo_time})
    scan = only(tmp_path)
    assert scan.echo_times_s == ECHO_TIMES_S
    assert scan.field_strength_t == 3
    assert scan.phase_units == "rad"


@pytest.mark.parametrize(
    ("fields", "expected_t"),
    [
        ({"MagneticFieldStrength": 7}, 7.0),
        ({"ImagingFrequency": 127.729156}, 3.0),
        ({"ImagingFrequency": 123.2, "MagneticFieldStrength": 3}, 2.8936),  # Siemens "3 T"
    ],
)
def test_field_strength(tmp_path, fields, expected_t):
    make_dataset(tmp_path, {"sub-01": {"metadata": fields}})
    assert only(tmp_path).field_strength_t == pytest.approx(expected_t, rel=1e-5)


def test_missing_units_are_left_open(tmp_path):
    make_dataset(tmp_path, {"sub-01": {"units": None}})
    assert only(tmp_path).phase_units is None


# --- selection ----------------------------------------------------------------------------------

MANY = {
    "sub-01_ses-a_acq-x": {},
    "sub-01_ses-b_acq-x": {},
    "sub-01_ses-b_acq-y": {},
    "sub-010_ses-a_acq-x": {},
    "sub-02_ses-a_acq-x_run-1": {},
    "sub-02_ses-a_acq-x_run-2": {"suffix": "T2starw"},
}


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("many"), MANY)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, r""),
        ({"participant_labels": ["01"]}, r"sub-01_"),
        ({"participant_labels": ["sub-02", "010"]}, r"sub-(02|010)_"),
        ({"session_labels": ["b"]}, r".*_ses-b"),
        ({"session_labels": ["ses-a"], "participant_labels": ["01"]}, r"sub-01_ses-a"),
        ({"filters": {"megre": {"acquisition": "y"}, "bold": {}}}, r".*_acq-y"),
        ({"filters": {"megre": {"run": None}}}, r"(?!.*_run-)"),
        ({"filters": {"megre": {"run": "*"}}}, r".*_run-"),
        ({"filters": {"megre": {"suffix": "T2starw"}}}, r".*_run-2"),
    ],
)
def test_selection(many, options, expected):
    query = find_acquisitions(many, **options)
    assert query.problems == ()
    assert [scan.name for scan in query.acquisitions] == sorted(
        name for name in MANY if re.match(expected, name)
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"participant_labels": ["01", "99"]}, "no participant 99; it has 01, 010, 02"),
        ({"session_labels": ["z"]}, "nothing has .*session z.*have session a, b"),
        (
            {"filters": {"megre": {"acquisition": "z"}}},
            "nothing has .*acquisition z.* acquisition x, y",
        ),
    ],
)
def test_what_matches_nothing_lists_what_exists(many, options, message):
    with pytest.raises(NoMatchError, match=message):
        find_acquisitions(many, **options)


def test_another_suffix_by_filter(tmp_path):
    make_dataset(
        tmp_path, {"sub-01": {"suffix": "T1w", "echo_label": None, "echo_times_s": (0.02,)}}
    )
    with pytest.raises(NoMatchError, match="suffix T1w"):
        find_acquisitions(tmp_path)
    assert only(tmp_path, filters={"megre": {"suffix": "T1w"}}).suffix == "T1w"


def test_a_wrong_filter_is_a_usage_error(many, tmp_path):
    with pytest.raises(UsageError, match='has no query "megre", only mgre'):
        find_acquisitions(many, filters={"mgre": {}})
    with pytest.raises(UsageError, match="'acq' is not a recognized entity"):
        find_acquisitions(many, filters={"megre": {"acq": "x"}})
    (tmp_path / "filter.json").write_text("{")
    with pytest.raises(UsageError, match=r"filter\.json is no valid JSON"):
        read_filter_file(tmp_path / "filter.json")


def test_filter_file(many, tmp_path):
    path = write_json(tmp_path / "filter.json", {"megre": {"run": None, "acquisition": "y"}})
    (scan,) = find_acquisitions(many, filters=read_filter_file(path)).acquisitions
    assert scan.name == "sub-01_ses-b_acq-y"


def test_database_is_made_once_and_holds_all_subjects(many, tmp_path):
    first = find_acquisitions(many, participant_labels=["02"], database_dir=tmp_path / "db")
    assert any((tmp_path / "db").iterdir())
    assert len(first.acquisitions) == 2
    assert len(find_acquisitions(many, database_dir=tmp_path / "db").acquisitions) == len(MANY)


def test_links_and_relative_paths_lead_to_the_same_files(many, tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(many)
    monkeypatch.chdir(many / "sub-02")
    expected = find_acquisitions(many)
    assert find_acquisitions(tmp_path / "link") == find_acquisitions("../") == expected
    find_acquisitions("..", database_dir=tmp_path / "db")
    assert find_acquisitions(many, database_dir=tmp_path / "db") == expected


def test_database_of_another_dataset_is_refused(many, tmp_path):
    find_acquisitions(many, database_dir=tmp_path / "db")
    other = make_dataset(tmp_path / "other")
    with pytest.raises(UsageError, match=f"belongs to {many}"):
        find_acquisitions(other, database_dir=tmp_path / "db")


def test_missing_and_empty_datasets(tmp_path):
    with pytest.raises(NoInputError, match="absent is no folder"):
        find_acquisitions(tmp_path / "absent")
    with pytest.raises(NoInputError, match="no sub-"):
        find_acquisitions(tmp_path)


def test_derivatives_and_sourcedata_are_not_input(tmp_path):
    make_dataset(tmp_path)
    for folder in ("derivatives/x", "sourcedata", "code"):
        make_dataset(tmp_path / folder, {"sub-01_acq-wrong": {}})
    assert only(tmp_path).name == "sub-01"


def test_ordinary_t2starw_is_no_qsm_scan(tmp_path):
    make_dataset(tmp_path, {"sub-01": {}, "sub-01_acq-anat": {"suffix": "T2starw", "parts": ("",)}})
    assert only(tmp_path).name == "sub-01"


# --- the user's masks ---------------------------------------------------------------------------


def test_mask_from_derivatives_of_the_same_entities(tmp_path):
    raw = make_dataset(tmp_path / "raw", {"sub-01_run-1": {}, "sub-01_run-2": {}})
    mask = tmp_path / "masks" / "sub-01" / "anat" / "sub-01_run-2_desc-brain_mask.nii.gz"
    write_nifti(mask, np.ones(SHAPE), dtype="uint8")
    query = find_acquisitions(raw, derivatives=[f"masks={tmp_path / 'masks'}"])
    assert [scan.mask_file for scan in query.acquisitions] == [None, mask]
    with pytest.raises(UsageError, match="absent does not exist"):
        find_acquisitions(raw, derivatives=[tmp_path / "absent"])


@pytest.mark.parametrize("folder", ["raw/derivatives/bet", "bet"])
def test_mask_pattern(tmp_path, folder):
    raw = make_dataset(tmp_path / "raw", {"sub-01_ses-1_acq-x_run-1": {}})
    mask = write_nifti(
        tmp_path / folder / "01-1-x-1" / "bet_mask.nii.gz", np.ones(SHAPE), dtype="uint8"
    )
    inside = folder.startswith("raw")
    pattern = "{subject}-{session}-{acquisition}-{run}/*mask.nii*"
    options = (
        {"mask_pattern": f"derivatives/bet/{pattern}"}
        if inside
        else {"mask_pattern": pattern, "derivatives": [tmp_path / folder]}
    )
    assert only(raw, **options).mask_file == mask


def test_mask_pattern_that_fits_nothing_or_too_much(tmp_path):
    raw = make_dataset(tmp_path / "raw")
    assert "has no mask derivatives/01*.nii" in problem(
        raw, mask_pattern="derivatives/{subject}*.nii"
    )
    for name in "ab":
        write_nifti(raw / "derivatives" / f"{name}.nii", np.ones(SHAPE), dtype="uint8")
    assert "belong to the same scan" in problem(raw, mask_pattern="derivatives/*.nii")
    for pattern in ("{task}.nii", "/absolute.nii", "{", ""):
        with pytest.raises(UsageError, match="mask pattern"):
            find_acquisitions(raw, mask_pattern=pattern)


def test_mask_on_another_grid_is_refused(tmp_path):
    raw = make_dataset(tmp_path)
    write_nifti(raw / "derivatives" / "mask.nii", np.ones((4, 4, 4)), dtype="uint8")
    assert re.search(
        r"has shape .* but .*mask\.nii", problem(raw, mask_pattern="derivatives/mask.nii")
    )


# --- the user's segmentations --------------------------------------------------------------------


def test_segmentation_of_the_same_scan_and_grid(tmp_path):
    raw = make_dataset(tmp_path / "raw", {"sub-01_run-1": {}, "sub-01_run-2": {}})
    folder = tmp_path / "labels" / "sub-01" / "anat"
    dseg = folder / "sub-01_run-2_seg-aseg_dseg.nii.gz"
    for name in (dseg.name, "sub-01_desc-aseg_dseg.nii.gz"):
        write_nifti(folder / name, np.ones(SHAPE), dtype="uint8")
    query = find_acquisitions(raw, derivatives=[tmp_path / "labels"])
    assert [scan.dseg_file for scan in query.acquisitions] == [None, dseg]
    write_nifti(folder / "sub-01_run-2_dseg.nii.gz", np.ones(SHAPE), dtype="uint8")
    assert "belong to the same scan" in problem(raw, derivatives=[tmp_path / "labels"])


def test_segmentations_on_other_grids_are_not_taken(tmp_path):
    """Those of a T1w, as fMRIPrep leaves them, never stop a scan."""
    raw = make_dataset(tmp_path / "raw")
    for name in ("sub-01_dseg", "sub-01_desc-aseg_dseg", "notes_dseg"):
        path = tmp_path / "labels" / "sub-01" / f"{name}.nii.gz"
        write_nifti(path, np.ones((4, 4, 4)), dtype="uint8")
    assert only(raw, derivatives=[tmp_path / "labels"]).dseg_file is None


def test_labels_are_never_named_by_guess(tmp_path):
    dseg = tmp_path / "sub-01_dseg.nii.gz"
    plain = label_meaning(dseg, [0, 10, 49, 77])
    assert plain["regions"][10].name == "Left-Thalamus"
    assert plain["groups"] == {"Thalamus": (10, 49)}
    with pytest.raises(DataError, match=r"labels \[999\] are not FreeSurfer's"):
        label_meaning(dseg, [0, 10, 999])
    table = tmp_path / "sub-01_dseg.tsv"
    table.write_text("index\tname\n10\tred nucleus\n49\tRight-Thalamus-Proper\n4\tdentate\n")
    own = label_meaning(dseg, [0, 10])
    assert {label: region.name for label, region in own["regions"].items()} == {
        10: "red nucleus", 49: "Right-Thalamus", 4: "dentate",
    }  # fmt: skip
    assert own["regions"][49].side == "right"
    assert own["groups"] == {}  # a pair needs both sides
    assert own["csf_labels"] == ()


def test_names_of_labels_from_the_table_beside(tmp_path):
    dseg = tmp_path / "sub-01_dseg.nii.gz"
    assert label_names(dseg) is None
    table = tmp_path / "sub-01_dseg.tsv"
    table.write_text("index\tname\n1\tred nucleus\n7\tdentate\n")
    assert label_names(dseg) == {1: "red nucleus", 7: "dentate"}
    table.write_text("label\tname\n1\tx\n")
    with pytest.raises(DataError, match=r"_dseg\.tsv: columns index"):
        label_names(dseg)


# --- what is refused, one line each, while the other subject goes on ----------------------------


def break_nothing_else(dataset):
    """Add a good subject: it must survive whatever happens to the first."""
    make_dataset(dataset, {"sub-01": {}, "sub-02": {"echo_times_s": (0.02,)}})
    return dataset


def remove(pattern):
    def change(dataset):
        for path in files(dataset, f"sub-01{pattern}"):
            path.unlink()

    return change


def edit(pattern, **fields):
    def change(dataset):
        for path in files(dataset, f"sub-01{pattern}.json"):
            edit_json(path, **fields)

    return change


def rewrite(pattern, data, affine=AFFINE):
    def change(dataset):
        for path in files(dataset, f"sub-01{pattern}.nii.gz"):
            write_nifti(path, data, affine)

    return change


def milliseconds(dataset):
    for path in files(dataset, "sub-01*.json"):
        edit_json(path, EchoTime=json.loads(path.read_text())["EchoTime"] * 1000)


def duplicate(dataset):
    path = dataset / "sub-01" / "anat" / "sub-01_echo-1_part-mag_MEGRE.nii.gz"
    path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))


def truncate(dataset):
    (path,) = files(dataset, "sub-01_echo-2_part-mag*.nii.gz")
    path.write_bytes(path.read_bytes()[:40])


def malform(dataset):
    (path,) = files(dataset, "sub-01_echo-2_part-phase*.json")
    path.write_text("{'EchoTime': 0.008}")


def no_affine(dataset):
    import nibabel as nib

    (path,) = files(dataset, "sub-01_echo-2_part-phase*.nii.gz")
    image = nib.load(path)
    image.set_sform(None, 0)
    image.set_qform(None, 0)
    nib.save(image, path)


NO_FIELD = {"MagneticFieldStrength": None}
BAD_INPUT = [
    pytest.param(
        remove("*phase*"),
        r"sub-01_echo-1_part-mag_MEGRE\.nii\.gz has no phase; add",
        marks=fault("no phase"),
    ),
    pytest.param(
        remove("*mag*"), r"echo-1_part-phase.* has no part-mag partner", marks=fault("no magnitude")
    ),
    pytest.param(
        remove("*echo-2_part-phase*"),
        r"echo-2_part-mag_MEGRE\.nii\.gz has no part-phase partner",
        marks=fault("phase of one echo missing"),
    ),
    pytest.param(
        remove("*echo-3_part-mag*"),
        r"echo-3_part-phase_MEGRE\.nii\.gz has no part-mag partner",
        marks=fault("magnitude of one echo missing"),
    ),
    pytest.param(remove("*echo-2*"), r"numbered \[1, 3\]", marks=fault("an echo missing")),
    pytest.param(remove("*echo-1*"), r"numbered \[2, 3\]", marks=fault("first echo missing")),
    pytest.param(
        duplicate,
        r"echo-1_part-mag_MEGRE\.nii and .*nii\.gz are the same echo",
        marks=fault("same echo twice"),
    ),
    pytest.param(
        edit("*echo-2_part-phase*", EchoTime=10**400),
        r"echo-2_part-phase_MEGRE\.nii\.gz: EchoTime is 1000.*; give a number",
        marks=fault("a number of hundreds of digits in one sidecar"),
    ),
    pytest.param(
        edit("*echo-2_part-phase*", EchoTime=None),
        r"echo-2_part-phase_MEGRE\.nii\.gz: EchoTime is missing; add it, in seconds",
        marks=fault("no EchoTime"),
    ),
    pytest.param(
        milliseconds,
        r"gz: EchoTime is 4 s, which can only be milliseconds",
        marks=fault("EchoTime in ms"),
    ),
    pytest.param(
        edit("*echo-2*", EchoTime="0.008"),
        r"echo-2.*EchoTime is '0.008'; give",
        marks=fault("EchoTime as text"),
    ),
    pytest.param(
        edit("*echo-2*", EchoTime=True), r"EchoTime is True", marks=fault("EchoTime true")
    ),
    pytest.param(edit("*echo-2*", EchoTime=[]), r"EchoTime is \[\]", marks=fault("EchoTime empty")),
    pytest.param(
        edit("*", EchoTime=0.004), r"echo-2.*must increase", marks=fault("echo times equal")
    ),
    pytest.param(
        edit("*echo-1*", EchoTime=0),
        r"echo-1.*positive number of seconds",
        marks=fault("echo time zero"),
    ),
    pytest.param(
        edit("*echo-2_part-mag*", EchoTime=0.009),
        r"EchoTime is 0\.008 for .*phase.* but 0\.009 for .*mag",
        marks=fault("echo times of the parts differ"),
    ),
    pytest.param(
        edit("*", EchoTime=list(ECHO_TIMES_S)),
        r"holds 1 volume\(s\) but its EchoTime 3 value",
        marks=fault("list of echo times for 3D"),
    ),
    pytest.param(
        rewrite("*", np.ones((*SHAPE, 8))),
        r"holds 8 volume\(s\) but its EchoTime 1 value\(s\).*coils",
        marks=fault("uncombined coils"),
    ),
    pytest.param(
        edit("*", **NO_FIELD),
        r"MagneticFieldStrength is missing; add it, in tesla",
        marks=fault("no field strength"),
    ),
    pytest.param(
        edit("*", MagneticFieldStrength=3000),
        r"tesla, between 0\.01 and 25",
        marks=fault("field strength in mT"),
    ),
    pytest.param(
        edit("*echo-2*", MagneticFieldStrength=7),
        r"MagneticFieldStrength is 3\.0 for .* but 7 for",
        marks=fault("field strengths differ"),
    ),
    pytest.param(
        edit("*", ImagingFrequency=63.9),
        r"ImagingFrequency 63\.9 MHz means 1\.5 T.*MagneticFieldStrength is 3 T",
        marks=fault("frequency contradicts"),
    ),
    pytest.param(
        edit("*", **NO_FIELD, ImagingFrequency=127.7e6),
        r"ImagingFrequency: 1",
        marks=fault("frequency in Hz"),
    ),
    pytest.param(
        edit("*echo-2_part-phase*", Units="arbitrary"),
        r"Units is 'rad' for .*'arbitrary'",
        marks=fault("Units differ"),
    ),
    pytest.param(
        rewrite("*echo-2_part-mag*", np.ones((5, 6, 3))),
        r"has shape \(5, 6, 4\) but .*echo-2_part-mag.* \(5, 6, 3\); a slice may be missing",
        marks=fault("slice missing"),
    ),
    pytest.param(
        rewrite("*echo-2_part-mag*", np.ones(SHAPE), np.diag([2, 2, 3, 1])),
        r"echo-1_part-phase.* and .*echo-2_part-mag.* have different affines",
        marks=fault("another affine"),
    ),
    pytest.param(
        truncate, r"echo-2_part-mag_MEGRE\.nii\.gz cannot be read", marks=fault("truncated file")
    ),
    pytest.param(
        malform, r"echo-2_part-phase_MEGRE\.json is no valid JSON", marks=fault("broken sidecar")
    ),
    pytest.param(
        no_affine,
        r"echo-2_part-phase_MEGRE\.nii\.gz has neither sform nor qform",
        marks=fault("no affine"),
    ),
]


@pytest.mark.parametrize(("change", "message"), BAD_INPUT)
def test_bad_input_is_one_clear_line_and_stops_nobody_else(tmp_path, change, message):
    change(break_nothing_else(tmp_path))
    query = find_acquisitions(tmp_path)
    assert [scan.name for scan in query.acquisitions] == ["sub-02"]
    (found,) = query.problems
    assert found.name == "sub-01"
    assert found.error is DataError
    assert re.search(message, found.message)
    assert "\n" not in found.message
    assert str(tmp_path) in found.message


def test_different_numbers_of_volumes_are_refused(tmp_path):
    make_dataset(tmp_path, {"sub-01": {"four_d": True}})
    (path,) = files(tmp_path, "*mag*.nii.gz")
    write_nifti(path, np.ones((*SHAPE, 2)))
    assert "hold different numbers of volumes" in problem(tmp_path)


def test_imaginary_part_alone_is_refused(tmp_path):
    make_dataset(tmp_path, {"sub-01": {"parts": ("imag",)}})
    assert "has no part-real partner" in problem(tmp_path)


def test_name_that_is_no_bids_name_is_a_problem(tmp_path):
    make_dataset(tmp_path)
    write_nifti(tmp_path / "sub-01" / "anat" / "sub-01_copy_part-mag_MEGRE.nii", np.ones(SHAPE))
    assert "has no BIDS name" in problem(tmp_path)


def test_megre_and_t2starw_of_one_name_would_overwrite_each_other(tmp_path):
    make_dataset(tmp_path, {"sub-01": {}})
    make_dataset(tmp_path, {"sub-01": {"suffix": "T2starw"}})
    assert "would write the same outputs" in problem(tmp_path)


def test_dataset_without_phase_anywhere(tmp_path):
    make_dataset(tmp_path, {"sub-01": {"suffix": "T2starw", "parts": ("",)}})
    with pytest.raises(NoMatchError, match="no scan with phase is selected, only sub-01_echo-1"):
        find_acquisitions(tmp_path)


# --- real data ----------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def data():
    if "ISDU_BIDS_TEST_DATA" not in os.environ:
        pytest.skip("ISDU_BIDS_TEST_DATA is not set")
    return Path(os.environ["ISDU_BIDS_TEST_DATA"])


def test_philips_scan(data):
    scan = only(data / "bids_philips")
    assert scan.echo_times_s == (0.0023, 0.0046)
    assert scan.field_strength_t == pytest.approx(3, rel=1e-3)
    assert scan.manufacturer == "Philips"
    assert scan.phase_units == "rad"


def test_simulated_scans(data):
    dataset = data / "bids_simulated"
    query = find_acquisitions(dataset, derivatives=[dataset / "derivatives" / "qsm-forward"])
    assert query.problems == ()
    assert [len(scan.echo_times_s) for scan in query.acquisitions] == [5, 4]
    assert all(scan.mask_file is not None for scan in query.acquisitions)
