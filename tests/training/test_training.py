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
from isdu_bids.training.dry_run import measure_cost
from isdu_bids.training.inversion import Inversion
from isdu_bids.training.losses import susceptibility_loss
from isdu_bids.training.patch_set import PatchSetSettings
from isdu_bids.training.state import TrainingState
from isdu_bids.training.tasks import load_task
from isdu_bids.training.trainer import BEST_FILE, LOG_FILE, STATE_FILE, train, training_step

TINY = Inversion(
    architecture=Architecture(iterations=1, depth=4, features=4),
    patches=PatchSettings(size=16),
    n_validation=2,
    steps=12,
    decay_steps=4,
    warmup_steps=2,
    save_every=6,
    seed=3,
)


@pytest.fixture(scope="module")
def head() -> torch.Tensor:
    return demo_head((56, 68, 62), (3.0, 3.0, 3.0), torch.Generator().manual_seed(0))


DROPOUT = replace(TINY, architecture=replace(TINY.architecture, dropout=0.5))
OVERLAPPING = replace(
    DROPOUT,
    patches=PatchSetSettings(size=16, strides=(12, 12, 12), scans_per_head=1),
    loss="paper",
    batch_size=2,
    subset_batches=4,
    half_precision=False,
)


@pytest.mark.parametrize("config", [DROPOUT, OVERLAPPING], ids=["random", "overlapping"])
def test_resuming_gives_the_same_weights_to_the_bit(config, head, tmp_path):
    """12 steps at once, or 6 and again 6: the random numbers of patches and dropout go on."""
    whole = load_weights(train(config, [head], [head], tmp_path / "whole"))
    interrupted = tmp_path / "interrupted"
    plateau = replace(config, steps=6, decay_steps=0)  # same rates as the first half of the whole
    train(plateau, [head], [head], interrupted)
    torch.rand(1)  # torch's own generator is somewhere else when a new process starts
    resumed = load_weights(train(config, [head], [head], interrupted))
    for name, tensor in whole.network.state_dict().items():
        assert torch.equal(tensor, resumed.network.state_dict()[name]), name
    with (interrupted / LOG_FILE).open() as stream:
        assert [row["step"] for row in csv.DictReader(stream, delimiter="\t")] == ["6", "12"]


def test_a_run_cannot_go_on_with_another_network_or_other_data(head, tmp_path):
    train(replace(TINY, steps=6), [head], [head], tmp_path)
    others = {
        "depth": replace(TINY, architecture=replace(TINY.architecture, depth=6)),
        "max_noise_ppm": replace(TINY, patches=replace(TINY.patches, max_noise_ppm=0.02)),
        "sampling": replace(TINY, patches=PatchSetSettings(size=16)),
        "seed": replace(TINY, seed=4),
    }
    for key, config in others.items():
        with pytest.raises(UsageError, match=key):
            train(config, [head], [head], tmp_path)
    train(replace(TINY, steps=7, learning_rate=1e-5, decay_steps=1), [head], [head], tmp_path)


def test_a_run_cannot_go_on_with_another_kind_of_device(head, tmp_path):
    """Random numbers of a GPU cannot be continued on a CPU."""
    train(replace(TINY, steps=1), [head], [head], tmp_path)
    content = torch.load(tmp_path / STATE_FILE, weights_only=True)
    torch.save({**content, "device": "cuda"}, tmp_path / STATE_FILE)
    with pytest.raises(UsageError, match="--device"):
        train(TINY, [head], [head], tmp_path)


def test_a_state_of_an_older_version_is_continued(head, tmp_path):
    """Files of before had neither configuration nor the generators of dropout."""
    train(replace(TINY, steps=6), [head], [head], tmp_path)
    content = torch.load(tmp_path / STATE_FILE, weights_only=True)
    old = {"network", "average", "optimiser", "generator", "step"}
    torch.save({key: content[key] for key in old}, tmp_path / STATE_FILE)
    train(replace(TINY, steps=7), [head], [head], tmp_path)
    assert torch.load(tmp_path / STATE_FILE, weights_only=True)["step"] == 7


def test_a_state_with_all_parameters_in_one_group_is_continued_to_the_bit(head, tmp_path):
    """As of before lambdas had a rate of their own: the network's order, which is another one."""
    train(TINY, [head], [head], tmp_path / "whole")
    old = tmp_path / "old"
    train(replace(TINY, steps=6, decay_steps=0), [head], [head], old)
    content = torch.load(old / STATE_FILE, weights_only=True)
    network = TINY.new_network()
    ours = [p for group in TINY.parameter_groups(network) for p in group["params"]]
    place = {parameter: i for i, parameter in enumerate(ours)}
    order = [place[parameter] for parameter in network.parameters()]
    assert order != sorted(order)
    saved = content["optimiser"]
    moments = {i: saved["state"][place] for i, place in enumerate(order)}
    group = {**saved["param_groups"][0], "params": list(range(len(order)))}
    del group["factor"]
    del content["config"]["family"]
    content["optimiser"] = {"state": moments, "param_groups": [group]}
    torch.save(content, old / STATE_FILE)
    train(TINY, [head], [head], old)
    whole, resumed = (
        torch.load(folder / STATE_FILE, weights_only=True)["network"]
        for folder in (tmp_path / "whole", old)
    )
    for name, tensor in whole.items():
        assert torch.equal(tensor, resumed[name]), name


def test_a_log_of_other_columns_is_continued(head, tmp_path):
    train(replace(TINY, steps=6), [head], [head], tmp_path)
    (tmp_path / LOG_FILE).write_text("step\tlambdas\tloss\r\n6\t0.15\t1.0\r\n")
    train(replace(TINY, steps=7), [head], [head], tmp_path)
    with (tmp_path / LOG_FILE).open() as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    assert [(row["step"], row["lambdas"]) for row in rows] == [("6", "0.15"), ("7", "")]
    assert float(rows[1]["loss"]) > 0


def test_lambdas_have_a_learning_rate_of_their_own(tmp_path):
    """The two groups hold every parameter once; the lambdas' rate is a multiple of the other."""
    task = replace(TINY, lambda_rate=10.0)
    state = TrainingState.new(task, "cpu")
    convolutions, others = state.optimiser.param_groups
    assert others["params"] == [state.network.log_lambdas]
    n_all = sum(1 for _ in state.network.parameters())
    assert len({*convolutions["params"], *others["params"]}) == n_all
    state.set_learning_rate(1e-3)
    assert (convolutions["lr"], others["lr"]) == (1e-3, pytest.approx(1e-2))
    state.save(tmp_path / STATE_FILE, task)
    slower = TrainingState.new(TINY, "cpu")
    slower.restore(tmp_path / STATE_FILE, TINY)  # the recipe's rate counts, not the file's
    assert slower.optimiser.param_groups[1]["factor"] == 1.0


def test_lambda_rate_moves_the_lambdas_and_nothing_else(head, tmp_path):
    """Adam's first step is the learning rate, whatever the gradient."""
    task = replace(TINY, steps=1, warmup_steps=0, decay_steps=1, half_precision=False)
    start = task.new_network()
    moved = {}
    for rate in (1.0, 10.0):
        state = TrainingState.new(replace(task, lambda_rate=rate), "cpu")
        batch = task.training_batches([head], tmp_path, "cpu")(0, state.generator)
        training_step(replace(task, lambda_rate=rate), state, batch)
        moved[rate] = state.network
    steps = {r: float((n.log_lambdas - start.log_lambdas).detach().abs()) for r, n in moved.items()}
    assert steps[1.0] == pytest.approx(task.learning_rate, rel=1e-2)
    assert steps[10.0] == pytest.approx(10 * task.learning_rate, rel=1e-2)
    same, other = (network.denoisers.state_dict() for network in moved.values())
    assert all(torch.equal(same[name], other[name]) for name in same)


@pytest.mark.parametrize("has_instructions", [True, False])
def test_half_precision_is_not_imitated(monkeypatch, has_instructions):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has_instructions)
    with replace(TINY, half_precision=True).autocast(torch.device("cpu")):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert (product.dtype == torch.bfloat16) is has_instructions


def test_training_stops_when_validation_no_longer_improves(head, tmp_path):
    """With a learning rate of zero nothing improves after the first validation."""
    config = replace(
        TINY, steps=100, save_every=1, patience=3, learning_rate=0.0, decay_steps=100,
        half_precision=False,
    )  # fmt: skip
    last = train(config, [head], [head], tmp_path)
    state = torch.load(tmp_path / STATE_FILE, weights_only=True)
    assert (state["step"], state["n_since_best"]) == (4, 3)
    best = load_weights(tmp_path / BEST_FILE)
    assert best.description.startswith("1 steps")
    assert load_weights(last).description.startswith("4 steps")
    train(config, [head], [head], tmp_path)  # which has stopped already
    assert torch.load(tmp_path / STATE_FILE, weights_only=True)["step"] == 4


def test_a_dry_run_counts_what_the_layers_do(head, tmp_path):
    """Forward, and backward to inputs and to weights: three convolutions' worth each."""
    cost = measure_cost(replace(TINY, half_precision=False), [head], tmp_path)
    features, voxels = TINY.architecture.features, 16**3
    head_macs, block_macs = 27 * 2 * features, 2 * 27 * features**2
    tail_macs = 2 * features**2 + 2 * features
    macs = 3 * (head_macs + block_macs + tail_macs) - head_macs  # the input needs no gradient
    assert cost.flop_per_step == 2 * voxels * macs
    assert cost.parameters == 27 * 2 * 4 + 2 * 27 * 16 + 2 * 8 + 2 * 16 + 8 + 1
    assert cost.hours == pytest.approx(12 * cost.seconds_per_step / 3600)
    assert "projected" in str(cost)


def test_warm_start_copies_the_first_denoiser(head, tmp_path):
    first = train(TINY, [head], [head], tmp_path / "k1")
    longer = replace(TINY, architecture=replace(TINY.architecture, iterations=3))
    train(replace(longer, steps=1, learning_rate=0.0, half_precision=False), [head], [head],
          tmp_path / "k3", warm_start=first)  # fmt: skip
    trained = load_weights(first).network
    started = load_weights(tmp_path / "k3" / "weights.safetensors").network
    for denoiser in started.denoisers:
        assert torch.equal(denoiser.head.weight, trained.denoisers[0].head.weight)


def test_warm_start_goes_on_from_the_same_network(head, tmp_path):
    first = train(TINY, [head], [head], tmp_path / "first")
    same = replace(TINY, steps=1, learning_rate=0.0, half_precision=False)
    second = train(same, [head], [head], tmp_path / "second", warm_start=first)
    trained, started = (load_weights(file).network for file in (first, second))
    assert all(map(torch.equal, trained.parameters(), started.parameters()))


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
    rates = [config.rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert set(rates[9:80]) == {1.0}
    assert rates[-1] == pytest.approx(0.05)


def test_cosine_schedule_falls_to_zero():
    config = replace(TINY, steps=100, warmup_steps=10, learning_rate=1.0, schedule="cosine")
    rates = [config.rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[50] == pytest.approx(0.5)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 1e-3


def test_configuration_file(tmp_path):
    path = tmp_path / "train.toml"
    path.write_text("steps = 5\n[architecture]\niterations = 2\n[patches]\nsize = 32\n")
    config = load_task(path)
    assert (config.steps, config.architecture.iterations, config.patches.size) == (5, 2, 32)
    path.write_text("sampling = 'overlapping'\n[patches]\nstrides = [4, 5, 6]\n")
    assert load_task(path).patches == PatchSetSettings(strides=(4, 5, 6))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("stepz = 5", "stepz"),
        ("steps = 'many'", "steps = 'many' is no int"),
        ("steps = true", "steps = True is no int"),
        ("loss = 'l2'", "loss = 'l2' is unknown; known are masked, paper"),
        ("schedule = 'steps'", "schedule"),
        ("sampling = 'grid'", "random, overlapping"),
        ("save_every = 0", "save_every"),
        ("subset_batches = 5", "overlapping"),
        ("family = 'resnet'", "family = 'resnet' is unknown; known are isdu"),
        ("reuse = 0", "reuse between 1 and 16"),
        (
            "sampling = 'overlapping'\nreuse = 2",
            "reuse and workers are for patches drawn on the fly",
        ),
        ("[architecture]\nnoise_input = true", "set noise_level_ppm"),
        ("[patches]\nsise = 5", r"\[patches\]: unknown key 'sise'"),
        ("[patches]\nvoxel_size_mm = 1.0", "voxel_size_mm = 1.0 is no list of 2"),
        ("sampling = 'overlapping'\n[patches]\nstrides = [4, 5]", "list of 3"),
    ],
)
def test_what_a_configuration_cannot_hold_is_named(line, message, tmp_path):
    path = tmp_path / "train.toml"
    path.write_text(f"{line}\n")
    with pytest.raises(UsageError, match=message):
        load_task(path)
