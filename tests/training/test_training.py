from __future__ import annotations

import csv
from dataclasses import replace

import pytest
import torch

from isdu_bids.errors import UsageError
from isdu_bids.networks.unrolled import Architecture
from isdu_bids.networks.weights import load_weights
from isdu_bids.physics.dipole import dipole_kernel
from isdu_bids.simulation.demo_head import demo_head
from isdu_bids.simulation.patches import PatchSettings
from isdu_bids.training.config import TrainingConfig, load_config
from isdu_bids.training.losses import susceptibility_loss
from isdu_bids.training.trainer import LOG_FILE, learning_rate, train

TINY = TrainingConfig(
    Architecture(iterations=1, depth=4, features=4),
    PatchSettings(size=16),
    steps=12,
    decay_steps=4,
    warmup_steps=2,
    save_every=6,
    seed=3,
)


@pytest.fixture(scope="module")
def head() -> torch.Tensor:
    return demo_head((56, 68, 62), (3.0, 3.0, 3.0), torch.Generator().manual_seed(0))


def test_resuming_gives_the_same_weights_to_the_bit(head, tmp_path):
    whole = load_weights(train(TINY, [head], [head], tmp_path / "whole"))
    train(replace(TINY, steps=12, save_every=6), [head], [head], tmp_path / "first")
    interrupted = tmp_path / "interrupted"
    plateau = replace(TINY, steps=6, decay_steps=0)  # same rates as the first half of the whole run
    train(plateau, [head], [head], interrupted)
    resumed = load_weights(train(TINY, [head], [head], interrupted))
    for name, tensor in whole.network.state_dict().items():
        assert torch.equal(tensor, resumed.network.state_dict()[name]), name
    with (interrupted / LOG_FILE).open() as stream:
        assert [row["step"] for row in csv.DictReader(stream, delimiter="\t")] == ["6", "12"]


def test_warm_start_copies_the_first_denoiser(head, tmp_path):
    first = train(TINY, [head], [head], tmp_path / "k1")
    longer = replace(TINY, architecture=replace(TINY.architecture, iterations=3), steps=0)
    train(replace(longer, steps=1, learning_rate=0.0, half_precision=False), [head], [head],
          tmp_path / "k3", warm_start=first)  # fmt: skip
    trained = load_weights(first).network
    started = load_weights(tmp_path / "k3" / "weights.safetensors").network
    for denoiser in started.denoisers:
        assert torch.equal(denoiser.head.weight, trained.denoisers[0].head.weight)


def test_training_lowers_the_loss_on_one_patch():
    """The loop's own pieces fit one random sample far better than they start."""
    torch.manual_seed(0)
    from isdu_bids.networks.unrolled import ISDUQSMNet

    network = ISDUQSMNet(Architecture(iterations=2, depth=4, features=8))
    kernel = dipole_kernel((16, 16, 16), (1, 1, 1), (0, 0, 1))
    target = 0.03 * torch.randn(1, 1, 16, 16, 16)
    mask = torch.ones_like(target)
    from isdu_bids.physics.dipole import convolve

    field = convolve(target, kernel)
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    losses = []
    for _ in range(60):
        loss = susceptibility_loss(network(field, mask, kernel), target, mask, kernel)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.6 * losses[0]


def test_loss_is_zero_for_the_truth_and_ignores_the_outside():
    target = torch.randn(1, 1, 8, 8, 8)
    mask = torch.zeros_like(target)
    mask[..., 2:6, 2:6, 2:6] = 1
    kernel = dipole_kernel((8, 8, 8), (1, 1, 1), (0, 0, 1))
    assert susceptibility_loss(target, target, mask, kernel) == 0
    outside = target + 5 * (1 - mask)
    assert susceptibility_loss(outside, target, mask, kernel) == 0
    assert susceptibility_loss(target + 0.1, target, mask, kernel) > 0


def test_loss_does_not_depend_on_the_unit():
    estimate, target = torch.randn(2, 1, 1, 8, 8, 8)
    mask = torch.ones_like(target)
    kernel = dipole_kernel((8, 8, 8), (1, 1, 1), (0, 0, 1))
    one = susceptibility_loss(estimate, target, mask, kernel)
    ten = susceptibility_loss(10 * estimate, 10 * target, mask, kernel)
    assert float(one) == pytest.approx(float(ten), rel=1e-5)


def test_learning_rate_is_a_trapezoid():
    config = replace(TINY, steps=100, warmup_steps=10, decay_steps=20, learning_rate=1.0)
    rates = [learning_rate(config, step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert set(rates[9:80]) == {1.0}
    assert rates[-1] == pytest.approx(0.05)


def test_configuration_file(tmp_path):
    path = tmp_path / "train.toml"
    path.write_text("steps = 5\n[architecture]\niterations = 2\n[patches]\nsize = 32\n")
    config = load_config(path)
    assert (config.steps, config.architecture.iterations, config.patches.size) == (5, 2, 32)
    path.write_text("stepz = 5\n")
    with pytest.raises(UsageError, match="stepz"):
        load_config(path)
