import json
import logging
import stat
from concurrent.futures import ThreadPoolExecutor
from email.message import Message

import pytest
from skeleton import make_dataset, write_json

from isdu_bids.bids import validation
from isdu_bids.bids.dataset import generated_by, guard_output, write_dataset_files
from isdu_bids.errors import OutputError, UsageError, ValidationError


@pytest.fixture
def raw(tmp_path):
    return make_dataset(tmp_path / "raw")


@pytest.mark.parametrize(
    "output", [".", "out", "sub-01/out", "derivatives", "sourcedata/x", "../raw"]
)
def test_output_in_the_input_is_refused_with_a_suggestion(raw, output):
    with pytest.raises(UsageError, match=f"lies in the input; use {raw}/derivatives/isdu-bids"):
        guard_output(raw, raw / output)
    assert not (raw / "derivatives").exists()


@pytest.mark.parametrize(
    "output", ["derivatives/isdu-bids", "derivatives/qsm/run1", "../out", "../rawer"]
)
def test_allowed_outputs_are_created(raw, output):
    guard_output(raw, raw / output, raw.parent / "work")
    assert (raw / output).is_dir()
    assert not list((raw / output).iterdir())


@pytest.mark.parametrize("work", ["raw", "raw/work", "raw/derivatives/isdu-bids/work", "out"])
def test_work_folder_in_the_input_or_as_output_is_refused(raw, work):
    with pytest.raises(UsageError, match=f"work folder .* use {raw.parent}/work"):
        guard_output(raw, raw.parent / "out", raw.parent / work)


def test_a_link_does_not_hide_the_input(raw):
    (raw.parent / "link").symlink_to(raw)
    with pytest.raises(UsageError, match="lies in the input"):
        guard_output(raw, raw.parent / "link" / "out")


def test_the_folder_of_another_dataset_is_refused(raw):
    other = make_dataset(raw.parent / "other")
    with pytest.raises(UsageError, match="holds another dataset"):
        guard_output(raw, other)


def test_our_own_folder_may_be_used_again(raw):
    out = raw.parent / "out"
    write_dataset_files(out, raw)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    guard_output(raw, out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_unwritable_folder_is_an_output_error(raw):
    (raw.parent / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        guard_output(raw, raw.parent / "file" / "out")
    with pytest.raises(OutputError, match="cannot be written"):
        guard_output(raw, raw.parent / "out", raw.parent / "file" / "work")


def test_dataset_files(raw):
    out = raw.parent / "out"
    write_dataset_files(out, raw)
    description = json.loads((out / "dataset_description.json").read_text())
    assert description["DatasetType"] == "derivative"
    assert description["GeneratedBy"][0]["Name"] == "isdu-bids"
    assert description["DatasetLinks"] == {"raw": raw.as_uri()}
    assert description["Authors"][:2] == ["A. Author", "B. Author"]
    ignored = (out / ".bidsignore").read_text().splitlines()
    assert len(ignored) == 6
    assert not any("/" in line for line in ignored)
    assert (out / "README.md").read_text().startswith("# ")


def test_an_edited_readme_is_kept(raw):
    out = raw.parent / "out"
    write_dataset_files(out, raw)
    (out / "README.md").write_text("Mine.\n")
    write_dataset_files(out, raw)
    assert (out / "README.md").read_text() == "Mine.\n"


@pytest.mark.parametrize("content", [None, "{", "{}", '{"Authors": "One String"}'])
def test_a_raw_dataset_without_description_still_gives_a_valid_one(raw, content):
    path = raw / "dataset_description.json"
    path.unlink() if content is None else path.write_text(content)
    out = raw.parent / "out"
    write_dataset_files(out, raw)
    report = validation.validate(out)
    if report is None:
        pytest.skip("bids-validator-deno is not installed")
    findings = report.errors + report.warnings
    assert [line for line in findings if not line.startswith("SUBJECT_FOLDERS")] == []


def test_many_jobs_write_the_same_files(raw):
    out = raw.parent / "out"
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: write_dataset_files(out, raw), range(20)))
    names = {"dataset_description.json", ".bidsignore", "README.md"}
    assert {p.name for p in out.iterdir()} == names
    json.loads((out / "dataset_description.json").read_text())


def fake_validator(folder, output, code):
    """Put a program in the validator's place that prints a fixed answer."""
    folder.mkdir()
    (folder / "answer").write_text(output)
    program = folder / "bids-validator-deno"
    program.write_text(f"#!/bin/sh\ncat {folder}/answer\nexit {code}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(folder)


def issue(severity):
    return {"code": "BAD", "subCode": "Key", "location": "/sub-01", "severity": severity}


def test_errors_of_the_input_are_shown_and_warnings_are_not(raw, tmp_path, monkeypatch):
    issues = [issue("error"), issue("warning")]
    answer = json.dumps(
        {"issues": {"issues": issues, "codeMessages": {"BAD": "This is bad.\nMore."}}}
    )
    monkeypatch.setenv("PATH", fake_validator(tmp_path / "bin", answer, 16) + ":/usr/bin:/bin")
    line = "BAD Key /sub-01 This is bad."
    assert validation.validate(raw) == validation.ValidationReport((line,), (line,))
    with pytest.raises(ValidationError, match=r"\(1 errors\)") as error:
        validation.check_input(raw)
    assert line in str(error.value)
    assert error.value.exit_code == 16


def test_a_validator_that_fails_is_no_verdict(raw, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", fake_validator(tmp_path / "bin", "Segmentation fault", 139))
    with pytest.raises(ValidationError, match="the validator failed"):
        validation.validate(raw)


def test_absent_validator_is_logged(raw, monkeypatch, caplog):
    monkeypatch.setattr(validation.shutil, "which", lambda *_, **__: None)
    with caplog.at_level(logging.WARNING):
        assert validation.validate(raw) is None
        validation.check_input(raw)
    assert "is not installed" in caplog.text


def test_real_validator_on_good_and_bad_input(raw):
    if validation.validate(raw) is None:
        pytest.skip("bids-validator-deno is not installed")
    assert validation.check_input(raw) == {}
    write_json(raw / "sub-01" / "anat" / "sub-01_echo-1_part-phase_MEGRE.json", {"EchoTime": 0.004})
    errors = validation.check_input(raw)
    assert list(errors) == ["01"]
    assert "Units" in errors["01"]
    (raw / "dataset_description.json").unlink()
    with pytest.raises(ValidationError, match="dataset_description"):
        validation.check_input(raw)


def test_the_output_folder_is_no_source_of_masks_and_labels(tmp_path):
    """Labels of a network must not come back as the user's."""
    raw, output = tmp_path / "raw", tmp_path / "out"
    raw.mkdir()
    with pytest.raises(UsageError, match="--derivatives"):
        guard_output(raw, output, derivatives=[tmp_path / "x" / ".." / "out"])
    guard_output(raw, output, derivatives=[tmp_path / "labels"])


def test_the_container_is_told_where_there_is_one(raw, monkeypatch):
    out = raw.parent / "out"
    for name in ("ISDU_BIDS_CONTAINER_TYPE", "ISDU_BIDS_CONTAINER_TAG"):
        monkeypatch.delenv(name, raising=False)
    write_dataset_files(out, raw)
    path = out / "dataset_description.json"
    (program,) = json.loads(path.read_text())["GeneratedBy"]
    assert "Container" not in program
    monkeypatch.setenv("ISDU_BIDS_CONTAINER_TYPE", "docker")
    monkeypatch.setenv("ISDU_BIDS_CONTAINER_TAG", "isdu-bids:9.8")
    write_dataset_files(out, raw)
    (program,) = json.loads(path.read_text())["GeneratedBy"]
    assert program["Container"] == {"Type": "docker", "Tag": "isdu-bids:9.8"}
    report = validation.validate(out)
    assert report is None or report.errors == ()


def test_the_address_of_the_code_is_that_of_the_package(raw, monkeypatch):
    package = Message()
    package["Project-URL"] = "Issues, https://example.org/issues"
    package["Project-URL"] = "Repository, https://example.org/code"
    monkeypatch.setattr("isdu_bids.bids.dataset.metadata", lambda name: package)
    assert generated_by({})["CodeURL"] == "https://example.org/code"
