from __future__ import annotations

import numpy as np
import pytest
import torch

from isdu_bids import images
from isdu_bids.cli.toolbox import main
from isdu_bids.networks.weights import load_weights
from isdu_bids.simulation.demo_head import demo_head

CONFIG = """
steps = 2
n_validation = 1
save_every = 1
decay_steps = 1
[architecture]
iterations = 1
depth = 4
features = 2
[patches]
size = 8
"""


@pytest.fixture
def arguments(tmp_path) -> list[str]:
    head = demo_head((40, 46, 42), (4.0, 4.0, 4.0), torch.Generator().manual_seed(0))
    labels = images.save_volume(head.numpy(), np.eye(4), tmp_path / "head.nii.gz")
    config = tmp_path / "config.toml"
    config.write_text(CONFIG)
    return ["train", str(config), "--heads", str(labels), "--validation-heads", str(labels),
            "-o", str(tmp_path / "run"), "--device", "cpu"]  # fmt: skip


def test_training_and_its_dry_run(arguments, tmp_path, capsys):
    assert main([*arguments, "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "GFLOP" in printed
    assert "projected time" in printed
    assert not (tmp_path / "run").exists()  # nothing is trained
    assert main(arguments) == 0
    path = capsys.readouterr().out.strip()
    assert load_weights(path).network.architecture.features == 2


def test_a_label_map_without_brain_is_named(arguments, tmp_path, capsys):
    images.save_volume(np.full((8, 8, 8), 511, np.int16), np.eye(4), tmp_path / "head.nii.gz")
    assert main(arguments) == 65
    assert "head.nii.gz holds no brain labels" in capsys.readouterr().err
