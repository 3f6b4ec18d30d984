import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from bids.layout import BIDSLayout
from skeleton import write_json, write_nifti

from isdu_bids.bids.sidecar import inherited_metadata, read_json, write_text
from isdu_bids.errors import DataError, OutputError


@pytest.fixture
def image(tmp_path):
    name = "sub-01_ses-1_run-1_echo-1_part-mag_MEGRE.nii.gz"
    return write_nifti(tmp_path / "sub-01" / "ses-1" / "anat" / name, [[[1.0]]])


def test_the_nearest_sidecar_wins_field_by_field(tmp_path, image):
    write_json(tmp_path / "MEGRE.json", {"A": "root", "B": "root", "C": "root", "D": "root"})
    write_json(tmp_path / "echo-1_MEGRE.json", {"A": "root, echo 1"})
    write_json(tmp_path / "sub-01" / "sub-01_MEGRE.json", {"B": "subject", "C": "subject"})
    write_json(tmp_path / "sub-01" / "ses-1" / "sub-01_ses-1_MEGRE.json", {"C": "session"})
    write_json(image.with_name(image.name.replace(".nii.gz", ".json")), {"D": "image"})
    expected = {"A": "root, echo 1", "B": "subject", "C": "session", "D": "image"}
    assert inherited_metadata(image, tmp_path) == expected
    assert BIDSLayout(tmp_path, validate=False).get_metadata(image) == expected


@pytest.mark.parametrize(
    "other",
    [
        "T2starw.json",
        "echo-2_MEGRE.json",
        "part-phase_MEGRE.json",
        "sub-02_MEGRE.json",
        "xMEGRE.json",
    ],
)
def test_sidecars_of_other_images_do_not_apply(tmp_path, image, other):
    write_json(tmp_path / other, {"EchoTime": 1})
    assert inherited_metadata(image, tmp_path) == {}


def test_sidecars_above_the_dataset_do_not_apply(tmp_path, image):
    write_json(tmp_path / "MEGRE.json", {"EchoTime": 1})
    assert inherited_metadata(image, tmp_path / "sub-01") == {}


@pytest.mark.parametrize("text", ["{", "[1]", "", "\x00"])
def test_broken_json_is_named(tmp_path, text):
    (tmp_path / "MEGRE.json").write_text(text)
    with pytest.raises(DataError, match=r"MEGRE\.json"):
        read_json(tmp_path / "MEGRE.json")


def test_byte_order_mark_is_accepted(tmp_path):
    (tmp_path / "a.json").write_text('{"A": 1}', encoding="utf-8-sig")
    assert read_json(tmp_path / "a.json") == {"A": 1}


def test_many_jobs_may_write_one_file(tmp_path):
    path = tmp_path / "new" / "dataset_description.json"
    texts = [json.dumps({"job": job, "filler": "x" * 10000}) for job in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda text: write_text(path, text), texts * 5))
    assert path.read_text() in texts
    assert list(path.parent.iterdir()) == [path]


def test_written_files_follow_the_umask(tmp_path):
    (tmp_path / "usual").touch()
    path = write_text(tmp_path / "ours", "text")
    assert path.stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_unwritable_folder_is_an_output_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        write_text(tmp_path / "file" / "below", "text")
