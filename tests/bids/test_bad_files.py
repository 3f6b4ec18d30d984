"""A cohort in which every subject but one has a fault of its own, and one query of it."""

import os
import re
import struct

import nibabel as nib
import numpy as np
import pytest
from faults import fault
from skeleton import AFFINE, edit_json, make_dataset, write_nifti

from isdu_bids.bids import query as module
from isdu_bids.bids.query import find_acquisitions
from isdu_bids.errors import DataError


def images(folder, pattern="*echo-2_part-phase*.nii"):
    return sorted(folder.rglob(pattern))


def header(offset, kind, *values):
    """Write numbers into the header of one image."""

    def change(folder):
        (path,) = images(folder)
        content = bytearray(path.read_bytes())
        struct.pack_into(f"<{kind}", content, offset, *values)
        path.write_bytes(content)

    return change


def sidecar(text, pattern="*echo-2_part-phase*.json"):
    def change(folder):
        (path,) = folder.rglob(pattern)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())

    return change


def edit(pattern="*.json", **fields):
    def change(folder):
        for path in folder.rglob(pattern):
            edit_json(path, **fields)

    return change


def add(name):
    def change(folder):
        (source,) = images(folder)
        (folder / "anat" / name).write_bytes(source.read_bytes())

    return change


def forms(sform, qform):
    def change(folder):
        for path in images(folder, "*.nii"):
            image = nib.Nifti1Image(np.asarray(nib.load(path).dataobj), AFFINE)
            image.set_qform(qform, 1)
            image.set_sform(sform, 1)
            nib.save(image, path)

    return change


def scaled(factor):
    def change(folder):
        for path in images(folder, "*.nii"):
            write_nifti(path, np.asarray(nib.load(path).dataobj), AFFINE * factor)

    return change


def link_to_nowhere(folder):
    (path,) = images(folder)
    path.unlink()
    path.symlink_to(folder / "nowhere.nii")


def pipe(folder):
    (path,) = images(folder)
    path.unlink()
    os.mkfifo(path)


LARGER = AFFINE @ np.diag([1.0, 1.0, 1.5, 1.0])
CASES = [
    pytest.param(
        header(70, "h", 77),
        "echo-2_part-phase.* cannot be read .*77",
        marks=fault("NIfTI data type that does not exist"),
    ),
    pytest.param(
        header(116, "f", np.nan),
        "echo-2_part-phase.* cannot be read .*nan",
        marks=fault("scl_inter NaN"),
    ),
    pytest.param(
        header(344, "4s", b"junk"),
        "echo-2_part-phase.* cannot be",
        marks=fault("NIfTI magic number destroyed"),
    ),
    pytest.param(
        sidecar("[" * 100_000),
        "json is no valid JSON",
        marks=fault("JSON nested 100 000 deep"),
    ),
    pytest.param(
        sidecar(b'{"EchoTime": 0.008, "Site": "\xe9"}'),
        "json is no valid JSON",
        marks=fault("JSON that is not UTF-8"),
    ),
    pytest.param(
        sidecar(f'{{"EchoTime": {"9" * 400}}}'),
        "EchoTime is 9999.*give a number",
        marks=fault("echo time with 400 digits"),
    ),
    pytest.param(
        sidecar('{"EchoTime": 1e400}'),
        "EchoTime is inf; give a number",
        marks=fault("echo time 1e400"),
    ),
    pytest.param(
        sidecar('{"EchoTime": NaN}'), "EchoTime is nan; give a number", marks=fault("echo time NaN")
    ),
    pytest.param(
        sidecar('{"EchoTime": {"value": 8}}'),
        "EchoTime is {'value': 8}",
        marks=fault("echo time is an object"),
    ),
    pytest.param(
        add("sub-01_echo-1_part-mag_M\udce9GRE.nii"),
        r"M\\xe9GRE.nii: the name is not UTF-8; rename",
        marks=fault("image whose name is not UTF-8"),
    ),
    pytest.param(
        add("sub-99_echo-1_part-mag_MEGRE.nii"),
        "lies in the folder of sub-.* but its name says sub-99",
        marks=fault("image of another subject in the folder"),
    ),
    pytest.param(
        add("sub-99_ses-2_echo-1_part-mag_MEGRE.nii"),
        "lies in the folder of sub-.* but its name says sub-99",
        marks=fault("image of another session in the folder"),
    ),
    pytest.param(
        link_to_nowhere, "echo-2_part-phase.* is no file", marks=fault("image is a link to nowhere")
    ),
    pytest.param(
        pipe,
        "echo-2_part-phase.* is no file",
        marks=fault("image is a pipe", "refused; never waits for it"),
    ),
    pytest.param(
        edit(MagneticFieldStrength=[3.0, 1.5]),
        r"MagneticFieldStrength is \[3.0, 1.5\]; give one",
        marks=fault("two field strengths in one field"),
    ),
    pytest.param(
        edit(MagneticFieldStrength="3T"),
        "MagneticFieldStrength is '3T'",
        marks=fault("field strength as text"),
    ),
    pytest.param(
        edit(MagneticFieldStrength=0.3, ImagingFrequency=127.7),
        "ImagingFrequency 127.7 MHz means 3 T.*is 0.3 T",
        marks=fault("field strength a tenth of what the imaging frequency says"),
    ),
    pytest.param(
        edit(RepetitionTime=0.012),
        "EchoTime 0.012 s is not before RepetitionTime 0.012 s",
        marks=fault("last echo after the repetition time"),
    ),
    pytest.param(
        edit("*part-mag*.json", ImageType=["ORIGINAL", "PRIMARY", "P", "ND"]),
        "echo-1_part-mag.*ImageType .* does not fit part-mag",
        marks=fault("ImageType of a part-mag says phase"),
    ),
    pytest.param(
        edit("*part-phase*.json", ImageType=["ORIGINAL", "M"]),
        "echo-1_part-phase.*ImageType .* does not fit part-phase",
        marks=fault("ImageType of a part-phase says magnitude"),
    ),
    pytest.param(
        forms(AFFINE, LARGER),
        "sform, qform and pixdim disagree on the voxel size .2 x 2 x 3 and 2 x 2 x 4.5",
        marks=fault("sform and qform differ in voxel size"),
    ),
    pytest.param(
        header(80, "3f", 1, 1, 1),
        "disagree on the voxel size",
        marks=fault("pixdim differs from sform"),
    ),
    pytest.param(
        scaled(1e-3),
        "voxels of 0.002 x 0.002 x 0.003 mm; write an affine in mm",
        marks=fault("affine in metres"),
    ),
]


@pytest.fixture(scope="module")
def query(tmp_path_factory):
    dataset = tmp_path_factory.mktemp("cohort")
    names = [f"sub-{k:02d}" for k in range(len(CASES))]
    make_dataset(dataset, {name: {"extension": ".nii"} for name in [*names, "sub-good"]})
    for name, case in zip(names, CASES, strict=True):
        case.values[0](dataset / name)
    return find_acquisitions(dataset)


@pytest.mark.parametrize(("change", "message"), CASES)
def test_a_bad_file_is_one_line_of_its_own_scan(query, change, message):
    (number,) = (k for k, case in enumerate(CASES) if case.values[0] is change)
    (problem,) = (p for p in query.problems if p.name.startswith(f"sub-{number:02d}"))
    assert problem.error is DataError
    assert "\n" not in problem.message
    assert f"/sub-{number:02d}/" in problem.message
    problem.message.encode("utf-8")
    assert re.search(message, problem.message), problem.message


def test_stray_files_do_not_cost_the_scan_beside_them(query):
    stray = {p.name for p in query.problems if "lies in the folder" in p.message}
    assert len(stray) == 2
    names = {scan.name for scan in query.acquisitions}
    assert {"sub-good", *(name.split("_")[0] for name in stray)} <= names


@fault("anything else that a library raises", "refused; the other scans go on")
def test_no_error_of_a_scan_ends_the_query(tmp_path, monkeypatch):
    def explode(files, *_):
        if "sub-01" in files[0].name:
            raise KeyError("no such thing\nat all")
        return real(files, *_)

    real = module.assemble
    monkeypatch.setattr(module, "assemble", explode)
    make_dataset(tmp_path, {"sub-01": {}, "sub-02": {}})
    found = find_acquisitions(tmp_path)
    assert [scan.name for scan in found.acquisitions] == ["sub-02"]
    (problem,) = found.problems
    assert problem.error is DataError
    assert "sub-01_echo-1_part-mag_MEGRE.nii.gz: a file of this scan cannot be used" in (
        problem.message
    )
    assert "\n" not in problem.message


@pytest.mark.parametrize(
    ("fields", "flags"),
    [
        pytest.param({"B0_dir": [0, 0, 1]}, (), id="agrees"),
        pytest.param(
            {"B0_dir": [0, 3, 4]},
            ("b0_dir_ignored",),
            marks=fault("B0_dir contradicts the affine", "flagged; the affine is used", 0),
        ),
        pytest.param(
            {"B0_dir": [0, 1]},
            ("b0_dir_ignored",),
            marks=fault("B0_dir is no direction", "flagged; the affine is used", 0),
        ),
    ],
)
def test_the_affine_says_where_b0_points(tmp_path, fields, flags):
    metadata = {"MagneticFieldStrength": 3, **fields}
    make_dataset(tmp_path, {"sub-01": {"metadata": metadata}})
    (scan,) = find_acquisitions(tmp_path).acquisitions
    assert scan.flags == flags


@fault("echoes 0.2 ms apart", "flagged as an error", 0)
def test_echoes_faster_than_any_scanner_are_flagged(tmp_path):
    make_dataset(tmp_path, {"sub-01": {"echo_times_s": (0.0004, 0.0006, 0.0008)}})
    (scan,) = find_acquisitions(tmp_path).acquisitions
    assert scan.flags == ("echo_spacing_short",)
