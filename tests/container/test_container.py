"""Both images run the main job with no network, on a read-only root, as any user."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from isdu_bids import __version__

pytestmark = [pytest.mark.container, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def binds(run, dataset, tmp_path_factory) -> dict[str, Path]:
    """Folders of a run that succeeded, by their places inside."""
    here = tmp_path_factory.mktemp("run")
    here.chmod(0o755)
    folders = {"/data": dataset, "/out": here / "out", "/work": here / "work"}
    for place in ("/out", "/work"):
        folders[place].mkdir()
        folders[place].chmod(0o777)
    result = run("/data", "/out", "participant", "-w", "/work", "--nprocs", "1", binds=folders)
    assert result.returncode == 0, result.stdout + result.stderr
    return folders


def test_image_tells_its_version(run):
    assert run("--version").stdout.strip() == f"isdu-bids {__version__}"


def test_main_job_writes_map_and_report(binds):
    assert (binds["/out"] / "sub-01.html").is_file()
    assert (binds["/out"] / "sub-01" / "anat" / "sub-01_Chimap.nii.gz").is_file()


def test_results_name_the_container(binds):
    description = json.loads((binds["/out"] / "dataset_description.json").read_text())
    (generator,) = description["GeneratedBy"]
    assert generator["Container"]["Tag"] == f"isdu-bids:{__version__}"


def test_no_scan_waits_for_a_compiler(binds):
    """Compiled code is what came with the image: it is older than the run."""
    compiled = list(binds["/work"].rglob("*.nb?"))
    assert compiled
    began = binds["/work"].parent.stat().st_mtime
    assert all(path.stat().st_mtime < began for path in compiled)


def test_reports_only_need_no_work_folder(run, binds):
    report = binds["/out"] / "sub-01.html"
    report.unlink()
    without = {place: binds[place] for place in ("/data", "/out")}
    result = run("/data", "/out", "participant", "--reports-only", binds=without)
    assert result.returncode == 0, result.stderr
    assert report.is_file()


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [
        (["/data", "/out", "participant", "--participant-label", "nobody"], 18),
        (["/data", "/out", "participant", "--no-such-option"], 64),
        (["/nowhere", "/out", "participant"], 66),
        (["/data", "/read-only-root", "participant"], 73),
    ],
)
def test_exit_code_reaches_the_caller(run, binds, arguments, exit_code):
    result = run(*arguments, binds={place: binds[place] for place in ("/data", "/out")})
    assert result.returncode == exit_code, result.stderr
    assert "Traceback" not in result.stderr
