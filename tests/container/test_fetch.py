"""What a build fetches is what is meant, or the build stops with one line."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

from isdu_bids.segmentation.keras_weights import OFFICIAL
from isdu_bids.template.find import find_template
from isdu_bids.template.spaces import OutputSpace

SCRIPT = Path(__file__).parents[2] / "docker" / "fetch.py"


@pytest.fixture
def fetch() -> ModuleType:
    spec = spec_from_file_location("fetch", SCRIPT)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def source(tmp_path) -> Path:
    path = tmp_path / "source"
    path.write_text("weights")
    return path


def test_what_is_meant_is_written(fetch, source, tmp_path):
    target = tmp_path / "models" / "x.h5"
    fetch.fetch(source.as_uri(), target, hashlib.sha256(b"weights").hexdigest())
    assert target.read_text() == "weights"


def test_another_file_is_refused(fetch, source, tmp_path):
    with pytest.raises(SystemExit, match="is not the file that it should be"):
        fetch.fetch(source.as_uri(), tmp_path / "x.h5", hashlib.sha256(b"others").hexdigest())
    assert not (tmp_path / "x.h5").exists()


def test_an_absent_file_is_named(fetch, tmp_path):
    with pytest.raises(SystemExit, match="absent cannot be fetched"):
        fetch.fetch((tmp_path / "absent").as_uri(), tmp_path / "x.h5", "")


def test_weights_are_the_official_ones_where_freesurfers_archive_keeps_them(fetch):
    folders = [fetch.annex_key(*size_and_sum)[:7] for size_and_sum in fetch.SYNTHSEG.values()]
    assert folders == ["bee/241", "187/db4", "c04/403"]
    assert {sha256 for _, sha256 in fetch.SYNTHSEG.values()} <= set(OFFICIAL)


def test_the_template_is_fetched_to_where_the_app_looks(fetch, tmp_path):
    """From an archive of the same names with other content."""
    archive, home = tmp_path / "archive", tmp_path / "home"
    for file in fetch.TEMPLATE:
        path = archive / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file)
        fetch.TEMPLATE[file] = hashlib.sha256(file.encode()).hexdigest()
    fetch.fetch_template(home, archive=archive.as_uri())
    found = find_template(OutputSpace("MNI152NLin2009cAsym"), home).fixed
    assert found.mask.read_text().endswith("desc-brain_mask.nii.gz")


def test_the_script_tells_in_one_line_what_it_could_not_fetch(tmp_path):
    command = [sys.executable, str(SCRIPT), "template", str(tmp_path)]
    offline = {"https_proxy": "http://127.0.0.1:9"}
    result = subprocess.run(command, capture_output=True, text=True, env=offline, check=False)
    assert result.returncode == 1
    assert result.stderr.startswith("https://templateflow")
    assert result.stderr.count("\n") == 1
