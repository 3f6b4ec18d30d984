"""The Dockerfile and the Apptainer recipe say the same thing, and say it well; nothing is built."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
from spython.main.parse.parsers import get_parser

from isdu_bids import __version__
from isdu_bids.networks.weights import DEFAULT_WEIGHTS
from isdu_bids.segmentation.keras_weights import OFFICIAL
from isdu_bids.template.find import find_template
from isdu_bids.template.spaces import OutputSpace

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "docker" / "Dockerfile"
SINGULARITY = ROOT / "docker" / "singularity.def"
ENTRY_POINT = "/opt/isdu-bids/bin/isdu-bids"
VERSION_LABEL = "org.opencontainers.image.version"


def first_stage(kind: str, path: Path) -> dict:
    return next(iter(get_parser(kind)(str(path)).recipe.values())).json()


@pytest.fixture(scope="module")
def docker() -> dict:
    return first_stage("docker", DOCKERFILE)


@pytest.fixture(scope="module")
def singularity() -> dict:
    return first_stage("singularity", SINGULARITY)


def test_hadolint_finds_nothing_in_the_dockerfile():
    beside = str(Path(sys.executable).parent)
    hadolint = shutil.which("hadolint") or shutil.which("hadolint", path=beside)
    if hadolint is None:
        pytest.skip("hadolint is not installed")
    result = subprocess.run([hadolint, str(DOCKERFILE)], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


def test_every_stage_has_the_same_base_image(singularity):
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE.read_text(), flags=re.MULTILINE)
    assert {*bases, singularity["fromHeader"]} == {"python:3.11-slim-bookworm"}


def test_entry_point_is_the_app_by_its_absolute_path(docker, singularity):
    assert docker["entrypoint"] == [ENTRY_POINT]
    assert singularity["cmd"] == f'exec {ENTRY_POINT} "$@"'


def test_labels_tell_the_version_of_the_package(singularity):
    text = DOCKERFILE.read_text()
    assert re.findall(r"ARG VERSION=(\S+)", text) == [__version__]
    assert f'{VERSION_LABEL}="$VERSION"' in text
    assert f"{VERSION_LABEL} {__version__}" in singularity["labels"]
    assert f'= "isdu-bids {__version__}"' in SINGULARITY.read_text()


@pytest.mark.parametrize("recipe", [DOCKERFILE, SINGULARITY], ids=lambda path: path.name)
def test_smoke_test_of_the_build_loads_the_default_weights(recipe):
    assert re.search(rf"isdu-qsm weights {DEFAULT_WEIGHTS}\b", recipe.read_text())


def test_both_install_the_same_packages():
    docker, singularity = DOCKERFILE.read_text(), SINGULARITY.read_text()
    pins = re.findall(r"\S+==\S+", docker)
    assert pins
    assert pins == re.findall(r"\S+==\S+", singularity)
    for option in ("--only-binary=:all:", "--no-binary=docopt", "constraints.txt"):
        assert option in docker
        assert option in singularity


def test_both_copy_the_same_sources_and_dockerignore_lets_them_in(docker, singularity):
    sources = sorted(source for source, _ in docker["files"])
    assert sources == sorted(pair.split()[0] for pair in singularity["files"])
    assert all((ROOT / source).exists() for source in sources)
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    assert sorted(line[1:] for line in ignore if line.startswith("!")) == sources


def test_both_mark_themselves_as_a_container(docker, singularity):
    marker = "IS_DOCKER_8395080871=1"
    assert marker in docker["environ"]
    assert marker in singularity["environ"]


def test_addresses_of_the_segmentation_weights():
    """FreeSurfer's archive keeps them in these folders; the checksums are those we know."""
    path = ROOT / "docker" / "fetch_synthseg.py"
    fetch = module_from_spec(spec_from_file_location("fetch_synthseg", path))
    fetch.__spec__.loader.exec_module(fetch)
    folders = [fetch.address(file).split("/objects/")[1][:7] for file in fetch.FILES]
    assert folders == ["bee/241", "187/db4", "c04/403"]
    assert {sha256 for _, sha256 in fetch.FILES.values()} <= set(OFFICIAL)


def test_both_say_where_weights_and_templates_are(docker, singularity):
    for place in (
        "FREESURFER_HOME=/opt/isdu-bids/freesurfer",
        "TEMPLATEFLOW_HOME=/opt/isdu-bids/templateflow",
    ):
        assert place in docker["environ"]
        assert place in singularity["environ"]


def test_the_template_is_fetched_to_where_the_app_looks(tmp_path):
    path = ROOT / "docker" / "fetch_template.py"
    fetch = module_from_spec(spec_from_file_location("fetch_template", path))
    fetch.__spec__.loader.exec_module(fetch)
    folder = tmp_path / fetch.TEMPLATE
    folder.mkdir()
    for file in fetch.FILES:
        (folder / file).write_text("x")
    space = OutputSpace(fetch.TEMPLATE.removeprefix("tpl-"))
    assert find_template(space, tmp_path).fixed.mask.parent == folder
