"""Both recipes, built and ready to run, where there is something to build and run them with.

Minutes long, so only on request: ``pytest -m container``. Docker, Podman with Buildah, and
Apptainer are found by themselves; other commands, or more options, are given by environment
variables::

    ISDU_BIDS_TEST_DOCKER_BUILD  ISDU_BIDS_TEST_DOCKER_RUN
    ISDU_BIDS_TEST_APPTAINER_BUILD  ISDU_BIDS_TEST_APPTAINER_RUN
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import pytest
from heads import write_head

ROOT = Path(__file__).parents[2]
TAG = "isdu-bids:test"


class Run(Protocol):
    """Run the app on folders, by their places inside: ``{"/data": folder}``."""

    def __call__(
        self, *arguments: str, binds: Mapping[str, Path] | None = None
    ) -> subprocess.CompletedProcess[str]: ...


def runner(command: list[str], bind: str, image: str) -> Run:
    """Return a function that runs an image; ``/data`` is always read-only."""

    def run(
        *arguments: str, binds: Mapping[str, Path] | None = None
    ) -> subprocess.CompletedProcess[str]:
        options = [
            f"{bind}={folder}:{inside}" + (":ro" if inside == "/data" else "")
            for inside, folder in (binds or {}).items()
        ]
        whole = [*command, *options, image, *arguments]
        return subprocess.run(whole, cwd=ROOT, capture_output=True, text=True, check=False)

    return run


def responds(*command: str) -> bool:
    """Whether a program is there, and its service too."""
    return (
        shutil.which(command[0]) is not None
        and not subprocess.run(command, capture_output=True, check=False).returncode
    )


def commands(engine: str, build: str, run: str) -> tuple[list[str], list[str]]:
    """Return how to build and run: by the environment, else as given; skip where there is none."""
    build = os.environ.get(f"ISDU_BIDS_TEST_{engine}_BUILD", build)
    run = os.environ.get(f"ISDU_BIDS_TEST_{engine}_RUN", run)
    if not build or not run:
        pytest.skip(f"nothing is here that builds and runs {engine.capitalize()} images")
    return shlex.split(build), shlex.split(run)


@pytest.fixture(scope="session")
def docker() -> Run:
    """Run the image as a cluster does: no network, read-only root, a user that nobody knows."""
    found = ("", "")
    if responds("docker", "info"):
        found = ("docker build", "docker run")
    elif responds("buildah", "--version") and responds("podman", "--version"):
        found = ("buildah bud", "podman run")
    build, run = commands("DOCKER", *found)
    subprocess.run([*build, "-t", TAG, "."], cwd=ROOT, check=True)
    locked_up = ["--rm", "--network=none", "--read-only", "--tmpfs=/tmp", "--user=1234:1234"]
    return runner([*run, *locked_up], "--volume", TAG)


@pytest.fixture(scope="session")
def apptainer(folder) -> Run:
    """Run the image with nothing of the host but the folders that are bound."""
    found = ("", "")
    if responds("apptainer", "version"):
        found = ("apptainer build", "apptainer run")
    build, run = commands("APPTAINER", *found)
    image = str(folder / "isdu-bids.sif")
    subprocess.run([*build, image, "singularity.def"], cwd=ROOT, check=True)
    return runner([*run, "--containall", "--cleanenv"], "--bind", image)


@pytest.fixture(scope="session", params=["docker", "apptainer"])
def run(request) -> Run:
    """Each recipe in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """Folder that every user may enter."""
    path = tmp_path_factory.mktemp("container")
    for parent in (path, path.parent, path.parent.parent):
        parent.chmod(0o755)
    return path


@pytest.fixture(scope="session")
def dataset(folder) -> Path:
    """One small head."""
    write_head(folder / "bids", "01")
    return folder / "bids"
