"""Who may write in the work folder, and whether its results belong to the files of now."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from faults import fault
from skeleton import make_dataset

from isdu_bids.bids.acquisition import Acquisition
from isdu_bids.errors import DataError, OutputError
from isdu_bids.workflows.contents import Contents
from isdu_bids.workflows.work_folder import private_folder


@pytest.fixture
def raw(tmp_path) -> Path:
    return make_dataset(tmp_path / "raw")


def test_our_folder_is_closed_to_others_and_found_again(raw, tmp_path):
    before = os.umask(0)
    try:
        folder = private_folder(tmp_path / "work", raw)
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert folder.parent == tmp_path / "work"
    assert folder.name.startswith("raw-")
    assert private_folder(tmp_path / "work", raw) == folder


@fault(
    "a pickled result planted in a work folder that others can write",
    "refused: a run there could run their code",
    exit_code=73,
)
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_work_folder_that_others_can_write_is_refused(raw, tmp_path, mode):
    private_folder(tmp_path / "work", raw).chmod(mode)
    with pytest.raises(OutputError, match="could run code here"):
        private_folder(tmp_path / "work", raw)


def test_a_link_in_place_of_our_folder_is_refused(raw, tmp_path):
    folder = private_folder(tmp_path / "work", raw)
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    with pytest.raises(OutputError, match="could run code here"):
        private_folder(tmp_path / "work", raw)


@fault("two datasets with one work folder", "each has its own folder there", 0)
def test_datasets_do_not_share_results(tmp_path):
    """Also where a container mounts them at one path: then their names differ."""
    work = tmp_path / "work"
    first, second = (make_dataset(tmp_path / name / "raw") for name in "ab")
    assert private_folder(work, first) != private_folder(work, second)
    before = private_folder(work, first)
    description = first / "dataset_description.json"
    description.write_text(description.read_text().replace("skeleton", "another"))
    assert private_folder(work, first) != before


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "image.nii"
    path.write_bytes(b"first")
    return path


def replace_unnoticeably(path: Path, content: bytes) -> None:
    before = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@fault("an input is replaced by another of equal size and time", "computed anew", 0)
def test_checksums_follow_the_content(tmp_path, file):
    cache = tmp_path / "checksums.json"
    contents = Contents(cache)
    (before,) = contents.of([file]).values()
    contents.save()
    replace_unnoticeably(file, b"other")
    (after,) = Contents(cache).of([file]).values()
    assert before != after
    (tmp_path / "new").write_bytes(b"third")
    os.utime(tmp_path / "new", ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
    (tmp_path / "new").replace(file)
    assert Contents(cache).of([file]) != {str(file): after}


def test_files_that_did_not_change_are_not_read_again(tmp_path, file, monkeypatch):
    contents = Contents(tmp_path / "checksums.json")
    before = contents.of([file])
    contents.save()
    monkeypatch.setattr("isdu_bids.workflows.contents.file_sha256", pytest.fail)
    assert Contents(tmp_path / "checksums.json").of([file]) == before


def test_names_that_are_no_utf8_are_remembered_too(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path / "image") + b"\xff"))
    path.write_bytes(b"content")
    contents = Contents(tmp_path / "checksums.json")
    before = contents.of([path])
    contents.save()
    assert Contents(tmp_path / "checksums.json").of([path]) == before


def test_a_damaged_cache_is_no_cache(tmp_path, file):
    (tmp_path / "checksums.json").write_text("{")
    assert len(Contents(tmp_path / "checksums.json").of([file])) == 1


def test_a_scan_is_its_files_and_its_parameters(tmp_path, file):
    contents = Contents(tmp_path / "checksums.json")

    def checksum(**changes) -> str:
        known = {"magnitude_files": (file,), "echo_times_s": (0.01,), "field_strength_t": 3.0}
        return contents.of_scan(Acquisition("01", **known | changes))

    copy = tmp_path / "copy.nii"
    copy.write_bytes(file.read_bytes())
    labels = tmp_path / "dseg.nii"
    labels.write_bytes(b"labels")
    assert checksum(magnitude_files=(copy,)) == checksum()
    named = checksum(dseg_file=labels)
    labels.with_suffix(".tsv").write_text("index\tname\n1\tThalamus\n")
    found = {checksum(), checksum(echo_times_s=(0.02,)), checksum(mask_file=file), named}
    assert len(found | {checksum(dseg_file=labels)}) == 5


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone.nii cannot be read \(No such file"):
        Contents(tmp_path / "checksums.json").of([tmp_path / "gone.nii"])
