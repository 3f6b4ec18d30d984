import pytest
from bids.layout import BIDSLayout
from skeleton import write_json, write_nifti

from isdu_bids.bids.sidecar import inherited_metadata


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
