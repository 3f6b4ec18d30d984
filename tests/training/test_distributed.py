"""Two processes train together (on the CPU, by gloo)."""

from __future__ import annotations

import contextlib
import csv
import os
import socket
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from isdu_bids import images
from isdu_bids.cli.toolbox import main
from isdu_bids.errors import UsageError
from isdu_bids.networks.unrolled import Architecture
from isdu_bids.networks.weights import load_weights
from isdu_bids.segmentation.region_net import load_region_net
from isdu_bids.simulation.demo_head import demo_head
from isdu_bids.simulation.patches import PatchSettings
from isdu_bids.training.distributed import average_over_processes, gathered, joined_processes, rank
from isdu_bids.training.inversion import Inversion
from isdu_bids.training.patch_set import PatchSetSettings
from isdu_bids.training.state import TrainingState
from isdu_bids.training.trainer import BEST_FILE, LOG_FILE, STATE_FILE, train, training_step

DROPOUT = Inversion(
    architecture=Architecture(iterations=2, depth=4, features=4, dropout=0.5),
    patches=PatchSettings(size=8),
    n_validation=1,
    steps=4,
    decay_steps=1,
    warmup_steps=1,
    average_decay=0.5,
    save_every=2,
)
#: Its loss is a mean over the batch and its batch norms stand still: batches can be joined.
JOINABLE = replace(
    DROPOUT,
    architecture=Architecture(iterations=2, depth=4, features=4),
    patches=PatchSetSettings(size=16, strides=(12, 12, 12), scans_per_head=1),
    loss="paper",
    steps=2,
    decay_steps=2,
    subset_batches=6,
    gradient_clip=1e-4,  # less than its norm, of which the clipped gradient would not be the mean
    half_precision=False,
)
IMPATIENT = replace(DROPOUT, steps=9, save_every=1, patience=2, learning_rate=0.0, decay_steps=9)
SEGMENTATION = """
task = "segmentation"
features = [4, 8]
steps = 2
n_validation = 1
save_every = 1
decay_steps = 1
contrast = { size = [16, 16, 16] }
"""


def new_head() -> torch.Tensor:
    return demo_head((40, 46, 42), (4.0, 4.0, 4.0), torch.Generator().manual_seed(0))


def work(number: int, ports: list[int], folder: Path) -> None:
    """What each of the two processes does."""
    warnings.simplefilter("error")
    torch.set_num_threads(1)
    os.environ.update(RANK=str(number), LOCAL_RANK=str(number), WORLD_SIZE="2")
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(ports[0]))
    head = new_head()
    with joined_processes("cpu") as device:
        state = TrainingState.new(DROPOUT, device)
        draw = DROPOUT.training_batches([head], folder, device)
        losses = [training_step(DROPOUT, state, draw(0, state.generator)) for _ in range(4)]
        everything = {
            "losses": losses,
            "numbers": [state.generator.get_state(), torch.get_rng_state()],
            "network": state.network.state_dict(),
            "average": state.average.state_dict(),
        }
        torch.save(everything, folder / f"rank{number}.pt")
        one = [torch.tensor([[1.0, 2.0]]) * (1 + rank()), torch.tensor(3.0 * rank())]
        average_over_processes(one)
        torch.save(one, folder / f"mean{number}.pt")
        assert gathered(f"of {number}") == ["of 0", "of 1"]
        train(JOINABLE, [head, head.flip(0)], [head], folder / "joinable")
        train(DROPOUT, [head], [head], folder / "whole")
        train(replace(DROPOUT, steps=2, decay_steps=0), [head], [head], folder / "interrupted")
        torch.rand(1 + number)  # torch's own generators are elsewhere when new processes start
        train(DROPOUT, [head], [head], folder / "interrupted")
        train(IMPATIENT, [head], [head], folder / "impatient")
    os.environ["MASTER_PORT"] = str(ports[1])
    arguments = ["train", str(folder / "recipe.toml"), "--heads", str(folder / "head.nii.gz"),
                 "--validation-heads", str(folder / "head.nii.gz"),
                 "-o", str(folder / "segmentation"), "--device", "cpu"]  # fmt: skip
    with (folder / f"printed{number}").open("w") as stream, contextlib.redirect_stdout(stream):
        assert main(arguments) == 0
        os.environ["MASTER_PORT"] = str(ports[2])
        assert main([*arguments, "--dry-run"]) == 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """What two processes left."""
    folder = tmp_path_factory.mktemp("two_processes")
    images.save_volume(new_head().numpy(), np.eye(4), folder / "head.nii.gz")
    (folder / "recipe.toml").write_text(SEGMENTATION)
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
        ports = [each.getsockname()[1] for each in sockets]
    torch.multiprocessing.spawn(work, (ports, folder), nprocs=2)
    return folder


def test_both_have_the_same_weights_and_different_patches(folder):
    first, second = (torch.load(folder / f"rank{number}.pt") for number in range(2))
    for part in ("network", "average"):
        for name, tensor in first[part].items():
            assert torch.equal(tensor, second[part][name]), name
    assert first["losses"] == second["losses"]  # which are means over both
    for one, other in zip(first["numbers"], second["numbers"], strict=True):
        assert not torch.equal(one, other)


def test_the_mean_over_processes(folder):
    for number in range(2):
        row, scalar = torch.load(folder / f"mean{number}.pt")
        assert row.tolist() == [[1.5, 3.0]]
        assert float(scalar) == 1.5


def test_two_batches_of_one_are_a_batch_of_two(folder, tmp_path):
    """Mean gradients, clipped together, of the same patches of a shuffled epoch."""
    head = new_head()
    alone = replace(JOINABLE, batch_size=2, subset_batches=3)
    train(alone, [head, head.flip(0)], [head], tmp_path)
    one, two = (torch.load(path / STATE_FILE) for path in (tmp_path, folder / "joinable"))
    for name, tensor in one["network"].items():
        torch.testing.assert_close(two["network"][name], tensor, rtol=0, atol=1e-6, msg=name)
    for key, moments in one["optimiser"]["state"].items():
        mean = two["optimiser"]["state"][key]["exp_avg"]
        torch.testing.assert_close(mean, moments["exp_avg"], rtol=1e-4, atol=1e-10)
    scans = {path.name for path in (tmp_path / "scans").glob("*")}
    assert {path.name for path in (folder / "joinable" / "scans").glob("*")} == scans


def test_resuming_gives_the_same_weights_to_the_bit(folder):
    whole, resumed = (
        load_weights(folder / name / BEST_FILE).network.state_dict()
        for name in ("whole", "interrupted")
    )
    for name, tensor in whole.items():
        assert torch.equal(tensor, resumed[name]), name


def test_one_of_them_writes(folder):
    for run, steps in {"interrupted": ["2", "4"], "segmentation": ["1", "2"]}.items():
        with (folder / run / LOG_FILE).open() as stream:
            rows = list(csv.DictReader(stream, delimiter="\t"))
        assert [row["step"] for row in rows] == steps
    first, second = ((folder / f"printed{number}").read_text() for number in range(2))
    assert second == ""
    path, *cost = first.splitlines()
    assert load_region_net(Path(path)).features == (4, 8)
    assert cost[0].startswith("samples per step 2 (2 processes")


def test_both_stop_when_validation_no_longer_improves(folder):
    assert torch.load(folder / "impatient" / STATE_FILE)["step"] == 3


def test_another_number_of_processes_is_refused(folder):
    with pytest.raises(UsageError, match=r"trained by 2 processes, not 1; .*--nproc-per-node 2"):
        train(DROPOUT, [new_head()], [new_head()], folder / "whole")


def test_one_gpu_for_all_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UsageError, match="--device cuda:1"), joined_processes("cuda:1"):
        pass
