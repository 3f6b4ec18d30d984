import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isdu_bids.bids.acquisition import Acquisition, Metadata
from isdu_bids.bids.names import ENTITIES, build_name, parse_name, scan_name
from isdu_bids.errors import DataError

labels = st.from_regex(r"[a-zA-Z0-9+]{1,6}", fullmatch=True)
entities = st.fixed_dictionaries({"sub": labels}, optional={key: labels for key in ENTITIES[1:]})


@given(entities, st.sampled_from(["MEGRE", "Chimap"]), st.sampled_from([".nii", ".nii.gz", ".tsv"]))
def test_names_round_trip(entities, suffix, extension):
    name = build_name(entities, suffix, extension)
    assert parse_name(Path("/data/sub-x") / name) == (entities, suffix, extension)
    keys = [pair.split("-")[0] for pair in name.split("_")[:-1]]
    assert keys == sorted(keys, key=ENTITIES.index)


@pytest.mark.parametrize(
    "name", ["sub-01_echo-1.nii", "sub-01_extra_MEGRE.nii", "sub-01_run-_MEGRE.nii"]
)
def test_other_names_are_refused(name):
    with pytest.raises(DataError, match="has no BIDS name"):
        parse_name(name)


def test_a_scan_needs_a_subject():
    with pytest.raises(DataError, match="names no subject"):
        scan_name("echo-1_MEGRE.nii")


def acquisition(**changes):
    fields = {
        "phase_files": (Path("/raw/sub-01/anat/sub-01_echo-1_part-phase_MEGRE.nii"),),
        "echo_times_s": (0.004,),
        "field_strength_t": 3.0,
        "metadata": Metadata({"FlipAngle": 15, "ImageType": ["P"]}),
    }
    return Acquisition("01", **{**fields, **changes})


def test_acquisition_can_be_pickled_hashed_and_printed():
    scan = acquisition(session="1", acquisition="x", reconstruction="y", run="01")
    copy = pickle.loads(pickle.dumps(scan))
    assert copy == scan
    assert hash(copy) == hash(scan)
    assert repr(copy) == repr(scan)  # Nipype hashes node inputs by it
    assert "'FlipAngle': 15" in repr(scan)


def test_name_holds_the_entities_that_exist():
    scan = acquisition(session="1", acquisition="x", reconstruction="y", run="01")
    assert scan.name == "sub-01_ses-1_acq-x_rec-y_run-01"
    assert scan.entities == {"sub": "01", "ses": "1", "acq": "x", "rec": "y", "run": "01"}
    assert acquisition().name == "sub-01"


def test_metadata_is_read_only_and_sorted():
    metadata = Metadata({"b": 1, "a": 2})
    assert list(metadata) == ["a", "b"]
    with pytest.raises(TypeError):
        metadata["a"] = 3
    assert metadata != acquisition().metadata


def test_importing_the_acquisition_is_cheap():
    code = (
        "import sys, isdu_bids.bids.acquisition, isdu_bids.bids.query, isdu_bids.bids.dataset;"
        "print(sorted({'bids', 'nipype', 'torch', 'pandas'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
