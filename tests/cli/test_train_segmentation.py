"""``isdu-qsm train`` with a recipe of a segmentation network."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from isdu_bids import images
from isdu_bids.cli.toolbox import main
from isdu_bids.segmentation.region_net import load_region_net
from isdu_bids.simulation.demo_head import demo_head
from isdu_bids.training.inversion import Inversion
from isdu_bids.training.segmentation import Segmentation
from isdu_bids.training.tasks import load_task

RECIPE = """
task = "segmentation"
features = [4, 8]
steps = 2
n_validation = 1
save_every = 1
decay_steps = 1
[contrast]
size = [32, 32, 32]
"""


@pytest.fixture
def arguments(tmp_path):
    head = demo_head((40, 46, 42), (4.0, 4.0, 4.0), torch.Generator().manual_seed(0))
    labels = images.save_volume(head.numpy(), np.eye(4), tmp_path / "head.nii.gz")
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE)
    return ["train", str(recipe), "--heads", str(labels), "--validation-heads", str(labels),
            "-o", str(tmp_path / "run"), "--device", "cpu"]  # fmt: skip


def test_training_and_its_dry_run(arguments, tmp_path, capsys):
    assert main([*arguments, "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "samples per step 1" in printed
    for fact in ("parameters", "GFLOP", r"\d s ", "projected time"):
        assert re.search(fact, printed), fact
    assert not (tmp_path / "run").exists()  # nothing is trained
    assert main(arguments) == 0
    path = Path(capsys.readouterr().out.strip())
    assert path.parent == tmp_path / "run"
    assert load_region_net(path).features == (4, 8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ('task = "denoising"', "known are inversion, segmentation"),
        ('task = "segmentation"\nreuse = 2', "unknown key 'reuse'"),
    ],
)
def test_what_makes_no_recipe_is_refused(arguments, change, message, capsys):
    Path(arguments[1]).write_text(RECIPE.replace('task = "segmentation"', change))
    assert main(arguments) == 64
    assert message in capsys.readouterr().err


def test_weights_to_start_from_that_are_missing_are_named(arguments, capsys):
    assert main([*arguments, "--warm-start", "k1.safetensors"]) == 65
    assert "k1.safetensors" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "task"), [("segmentation", Segmentation), ("susceptibility", Inversion)]
)
def test_recipes_beside_the_package_can_be_read(name, task):
    path = Path(__file__).parents[2] / "benchmarks" / f"{name}.toml"
    if not path.is_file():
        pytest.skip("benchmarks are not installed")
    assert isinstance(load_task(path), task)
