"""What a new family of networks takes: a line in the registry, and the rest follows."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from isdu_bids.cli.weights import describe
from isdu_bids.errors import DataError, UsageError
from isdu_bids.networks.families import FAMILIES, Family
from isdu_bids.networks.unrolled import Architecture, ISDUQSMNet
from isdu_bids.networks.weights import load_weights, save_weights
from isdu_bids.segmentation.region_net import RegionNet, save_region_net
from isdu_bids.simulation.demo_head import demo_head
from isdu_bids.training.tasks import parse_task
from isdu_bids.training.trainer import BEST_FILE, LOG_FILE, STATE_FILE, train

RECIPE = {
    "family": "direct",
    "architecture": {"features": 3},
    "patches": {"size": 8},
    "steps": 2,
    "save_every": 2,
    "decay_steps": 1,
    "n_validation": 1,
}


@dataclass(frozen=True)
class DirectArchitecture:
    features: int = 2


class Direct(nn.Module):
    """From field to susceptibility, without a data-consistency step."""

    def __init__(self, architecture: DirectArchitecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.first = nn.Conv3d(1, architecture.features, 3, padding=1)
        self.last = nn.Conv3d(architecture.features, 1, 1)

    def forward(self, field_ppm, mask, kernel, field_sd_ppm=None):
        return self.last(self.first(field_ppm).relu()) * mask


@pytest.fixture(autouse=True)
def direct(monkeypatch):
    monkeypatch.setitem(FAMILIES, "direct", Family(DirectArchitecture, Direct))


@pytest.fixture(scope="module")
def head() -> torch.Tensor:
    return demo_head((40, 46, 42), (4.0, 4.0, 4.0), torch.Generator().manual_seed(0))


def test_a_family_is_trained_saved_and_loaded(head, tmp_path):
    path = train(parse_task(RECIPE, "recipe"), [head], [head], tmp_path)
    weights = load_weights(path)
    assert weights.family == "direct"
    assert f"weights  direct: {27 * 3 + 3 + 3 + 1} parameters" in describe(weights)
    assert isinstance(weights.network, Direct)
    assert weights.network.architecture.features == 3
    saved = torch.load(tmp_path / STATE_FILE, weights_only=True)["network"]
    for name, tensor in weights.network.state_dict().items():
        assert torch.equal(tensor, saved[name])
    assert (tmp_path / BEST_FILE).is_file()
    assert "lambda" not in (tmp_path / LOG_FILE).read_text()


def test_a_run_cannot_go_on_with_another_family(head, tmp_path):
    train(parse_task(RECIPE, "recipe"), [head], [head], tmp_path)
    isdu = {**RECIPE, "architecture": {"iterations": 1, "depth": 4, "features": 3}}
    del isdu["family"]
    with pytest.raises(UsageError, match="family = 'direct', not 'isdu'"):
        train(parse_task(isdu, "recipe"), [head], [head], tmp_path)
    segmentation = {"task": "segmentation", "contrast": {"size": [32, 32, 32]}}
    with pytest.raises(UsageError, match="features"):
        train(parse_task(segmentation, "recipe"), [head], [head], tmp_path)


def test_files_of_before_hold_the_network_of_before(tmp_path):
    """They do not say their family."""
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    path = tmp_path / "net.safetensors"
    save_weights(path, ISDUQSMNet(Architecture(iterations=1, depth=4, features=2)), "old")
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    assert metadata.pop("family") == "isdu"
    save_file(load_file(path), path, metadata)
    assert load_weights(path).family == "isdu"
    assert isinstance(load_weights(path).network, ISDUQSMNet)


def test_a_network_that_inverts_nothing_is_refused_by_its_family(tmp_path):
    path = tmp_path / "regions.safetensors"
    save_region_net(path, RegionNet((0, 2), (4, 4)), "a test")
    with pytest.raises(DataError, match="family 'region_net'"):
        load_weights(path)


def test_only_iterations_can_be_copied(tmp_path):
    path = tmp_path / "net.safetensors"
    save_weights(path, Direct(DirectArchitecture()), "direct")
    with pytest.raises(UsageError, match="--warm-start"):
        parse_task(RECIPE, "recipe").new_network(path)
