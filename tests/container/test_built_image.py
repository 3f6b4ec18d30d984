"""Build the image and run the main job in it as a cluster does: no network, read-only, any user.

Minutes long, so only on request, by the two commands to use::

    ISDU_BIDS_TEST_BUILD="buildah bud" ISDU_BIDS_TEST_RUN="podman run" pytest -m container
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from isdu_bids import __version__

pytestmark = [pytest.mark.container, pytest.mark.timeout(3600)]

ROOT = Path(__file__).parents[2]
TAG = "isdu-bids:test"
CLUSTER = ["--rm", "--network", "none", "--read-only", "--tmpfs", "/tmp", "--user", "1234:1234"]


def engine(variable: str) -> list[str]:
    """Command in an environment variable; skip where it is not given or its program not there."""
    command = shlex.split(os.environ.get(variable, ""))
    if not command:
        pytest.skip(f"{variable} is not set")
    if shutil.which(command[0]) is None:
        pytest.skip(f"{variable}: there is no program {command[0]}")
    return command


@pytest.fixture(scope="module")
def image() -> str:
    build = engine("ISDU_BIDS_TEST_BUILD")
    subprocess.run([*build, "-f", "docker/Dockerfile", "-t", TAG, "."], cwd=ROOT, check=True)
    return TAG


@pytest.fixture(scope="module")
def run(image):
    """Return a function that runs the image on bound folders."""
    command = engine("ISDU_BIDS_TEST_RUN")

    def run(*arguments: str, options: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *CLUSTER, *options, image, *arguments], capture_output=True, text=True
        )

    return run


@pytest.fixture(scope="module")
def demo(run, tmp_path_factory) -> Path:
    """Folder with a simulated dataset and its results, both made inside the container."""
    folder = tmp_path_factory.mktemp("demo")
    folder.chmod(0o777)
    result = run("demo", "/demo", options=["-v", f"{folder}:/demo", "--entrypoint", "isdu-qsm"])
    assert result.returncode == 0, result.stderr
    return folder


def test_image_tells_its_version(run):
    assert run("--version", options=[]).stdout.strip() == f"isdu-bids {__version__}"


def test_main_job_writes_map_and_report(demo):
    results = demo / "derivatives"
    assert (results / "sub-01.html").is_file()
    assert (results / "sub-01" / "anat" / "sub-01_Chimap.nii.gz").is_file()


def test_data_may_be_read_only(run, demo):
    folders = ["-v", f"{demo}/bids:/data:ro", "-v", f"{demo}/derivatives:/out"]
    report = demo / "derivatives" / "sub-01.html"
    report.unlink()
    result = run("/data", "/out", "participant", "--reports-only", options=folders)
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
def test_exit_code_reaches_the_caller(run, demo, arguments, exit_code):
    folders = ["-v", f"{demo}/bids:/data:ro", "-v", f"{demo}/derivatives:/out"]
    result = run(*arguments, options=folders)
    assert result.returncode == exit_code, result.stderr
    assert "Traceback" not in result.stderr
