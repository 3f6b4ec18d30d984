import json
import math
from dataclasses import replace

import pytest

from isdu_bids.errors import DataError
from isdu_bids.quality.record import (
    RECORD_VERSION,
    ScanRecord,
    all_flags,
    further_processing,
    read_record,
    weights_flags,
    weights_sentences,
    write_record,
)

RECORD = ScanRecord(
    name="sub-01_run-1",
    echo_times_s=[0.005, 0.012],
    field_strength_t=3.0,
    shape=[10, 12, 8],
    voxel_size_mm=[1.0, 1.0, 2.0],
    b0_direction=[0.0, 0.0, 1.0],
    facts={"background": "jdf", "csf_reference": {"mean_ppm": None}},
    sentences=(("Phase was unwrapped", "10.1002/mrm.28563"),),
    measures={"chi_sd_ppm": 0.03},
    flags=all_flags(["preliminary_weights"], {}),
    regions={"index": [1, None], "name": ["a", "b"]},
    further_processing=["resampled"],
)


def test_a_record_is_read_as_it_was_written(tmp_path):
    path = write_record(tmp_path / "summary.json", RECORD)
    assert read_record(path) == RECORD


def test_what_could_not_be_measured_stays_unknown(tmp_path):
    path = write_record(tmp_path / "s.json", replace(RECORD, measures={"x": math.nan}))
    assert json.loads(path.read_text())["measures"] == {"x": None}
    assert math.isnan(read_record(path).measures["x"])


def test_the_file_names_version_pipeline_and_remarks(tmp_path):
    content = json.loads(write_record(tmp_path / "s.json", RECORD).read_text())
    assert content["version"] == RECORD_VERSION
    assert content["software_version"]
    assert content["pipeline"] == RECORD.pipeline
    assert {"name", "severity", "message"} == set(content["flags"][0])
    assert "preliminary_weights" in {flag["name"] for flag in content["flags"]}


@pytest.mark.parametrize(
    "change", [{"version": RECORD_VERSION + 1}, {"measures": [1]}, {"flags": [{"name": "x"}]}, None]
)
def test_another_version_or_a_damaged_file_is_refused(tmp_path, change):
    path = write_record(tmp_path / "s.json", RECORD)
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | change) if change else "{}")
    with pytest.raises(
        DataError, match=r"s\.json is damaged or of another version .* run it again"
    ):
        read_record(path)


def test_remarks_come_worst_first_and_once():
    flags = all_flags(["sign_unclear", "single_echo", "sign_unclear"], {"n_echoes": 1.0})
    assert flags[0].name == "single_echo"
    assert [flag.name for flag in flags].count("sign_unclear") == 1


def test_weights_are_told_with_their_status():
    facts = {"weights": "isdu_k4", "weights_description": "preliminary weights: K = 4"}
    assert weights_flags(facts) == ["preliminary_weights"]
    ((text, _),) = weights_sentences(facts)
    assert text == "The network's weights are isdu_k4 (preliminary weights: K = 4)"
    facts["inversion_parameters"] = {"grid": "aligned", "precision": "half"}
    ((text, _),) = weights_sentences(facts)
    assert text.endswith("; it ran on the aligned grid; its denoisers ran in half precision")
    assert weights_flags({"weights_description": "trained on 100 heads"}) == []
    assert weights_flags({}) == weights_sentences({"inversion": "tkd"}) == []


def test_resampling_is_further_processing():
    assert further_processing({"inversion_parameters": {"grid": "native"}}) == []
    assert further_processing({"inversion": "tkd"}) == []
    (text,) = further_processing({"inversion_parameters": {"grid": "aligned"}})
    assert "along B0" in text
    (text,) = further_processing({"template_space_NKI": "NKI:res-1"})
    assert text.endswith("template NKI:res-1")
