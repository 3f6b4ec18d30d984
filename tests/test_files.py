import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from isdu_bids.errors import DataError, OutputError, UsageError
from isdu_bids.files import (
    beside,
    file_sha256,
    read_json,
    read_toml,
    replacing,
    to_toml,
    write_json,
    write_text,
)
from isdu_bids.images import save_volume


def write_image(path: Path) -> None:
    save_volume(np.ones((4, 4, 4)), np.eye(4), path)


WRITERS = {
    "file.txt": lambda path: write_text(path, "text"),
    "file.json": lambda path: write_json(path, {"a": 1}),
    "file.nii.gz": write_image,
    "file.nii": write_image,
}


@pytest.mark.parametrize("name", WRITERS)
def test_files_follow_the_umask_and_replace_older_ones(tmp_path, name):
    path = tmp_path / "new" / name
    before = os.umask(0o027)
    try:
        WRITERS[name](path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    first = path.read_bytes()
    path.write_bytes(b"something older and much longer" * 100)
    WRITERS[name](path)
    assert path.read_bytes() == first  # the temporary name leaves no trace, in gzip headers neither
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("name", WRITERS)
def test_unwritable_folder_is_an_output_error(tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot be written \(Not a directory|File exists"):
        WRITERS[name](tmp_path / "file" / name)


def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    def fail(path):
        with replacing(path) as partial:
            partial.write_text("half of the n")
            raise ZeroDivisionError

    path = write_text(tmp_path / "file", "old")
    with pytest.raises(ZeroDivisionError):
        fail(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_names_the_file_not_what_was_written_beside_it(tmp_path):
    with (
        pytest.raises(OutputError, match=r"/a\.nii cannot be written"),
        replacing(tmp_path / "a.nii") as outer,
        replacing(outer),
    ):
        raise OSError(28, "No space left on device")


def test_many_jobs_may_write_one_file(tmp_path):
    path = tmp_path / "new" / "dataset_description.json"
    texts = [json.dumps({"job": job, "filler": "x" * 10000}) for job in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda text: write_text(path, text), texts * 5))
    assert path.read_text() in texts
    assert list(path.parent.iterdir()) == [path]


def test_json_without_numbers_is_null(tmp_path):
    path = write_json(tmp_path / "a.json", {"a": [float("nan"), 1.5], "b": {"c": float("inf")}})
    assert read_json(path) == {"a": [None, 1.5], "b": {"c": None}}


@pytest.mark.parametrize("text", ["{'EchoTime': 1}", "{", "[1]", "", "\x00"])
def test_broken_json_is_named(tmp_path, text):
    path = write_text(tmp_path / "MEGRE.json", text)
    with pytest.raises(DataError, match=r"MEGRE\.json"):
        read_json(path)


def test_a_byte_order_mark_is_no_error(tmp_path):
    (tmp_path / "a.json").write_text('{"A": 1}', encoding="utf-8-sig")
    assert read_json(tmp_path / "a.json") == {"A": 1}


def test_toml_comes_back_without_what_is_not_set(tmp_path):
    values = {"options": {"grid": "aligned", "range": (0.0, 1.0), "mask": None, "w": Path("a/b")}}
    path = write_text(tmp_path / "run.toml", to_toml(values))
    assert read_toml(path) == {"options": {"grid": "aligned", "range": [0.0, 1.0], "w": "a/b"}}
    path.write_text("grid = ")
    with pytest.raises(UsageError, match=r"run\.toml cannot be read"):
        read_toml(path)


def test_checksum_is_that_of_sha256sum(tmp_path):
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert file_sha256(write_text(tmp_path / "empty", "")) == empty


@pytest.mark.parametrize("name", ["a_b.nii", "a_b.nii.gz", "a_b.tsv", "a_b.json"])
def test_what_lies_beside_an_image_shares_its_stem(name):
    assert beside(Path("v1.2") / name, ".json") == Path("v1.2/a_b.json")
