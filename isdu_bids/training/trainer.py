"""The training loop of all networks: resumable to the step."""

from __future__ import annotations

import csv
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from isdu_bids.training.allocator import keep_freed_memory
from isdu_bids.training.distributed import gathered, is_first
from isdu_bids.training.state import TrainingState
from isdu_bids.training.task import Task, Validation

logger = logging.getLogger(__name__)

WEIGHTS_FILE, BEST_FILE = "weights.safetensors", "best.safetensors"
STATE_FILE, LOG_FILE, SCANS_FOLDER = "state.pt", "log.csv", "scans"


def train(
    task: Task[Any, Any],
    heads: Sequence[torch.Tensor],
    validation_heads: Sequence[torch.Tensor],
    folder: Path,
    *,
    device: str = "cpu",
    warm_start: Path | None = None,
    scans: Path | None = None,
) -> Path:
    """Train on samples of ``heads``; continue where ``folder`` was left.

    Parameters
    ----------
    task
        The recipe.
    heads, validation_heads
        Integer label maps ``(x, y, z)`` on 1 mm grids, RAS axes.
    folder
        Receives the last weights, those of the best validation, state and log.
    device
        Torch device of network and simulation.
    warm_start
        Weights to start from: of the same network, or of one with fewer iterations, whose first
        denoiser is copied into every iteration (as published nets were).
    scans
        Folder of fixed scans, which several runs may share; by default one inside ``folder``.

    Returns
    -------
    Path
        The weights file.

    Raises
    ------
    UsageError
        If the folder holds a run with another network, other patches, another seed or another
        number of processes.
    """
    keep_freed_memory()
    state = TrainingState.new(task, device, warm_start)
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / STATE_FILE).exists():
        state.restore(folder / STATE_FILE, task)
    if is_finished(task, state):
        return folder / WEIGHTS_FILE
    scans = scans or folder / SCANS_FOLDER
    draw = task.training_batches(heads, scans, device)
    validation = task.validation_batches(validation_heads, scans, device) if is_first() else []
    while not is_finished(task, state):
        losses, start = [], time.perf_counter()
        for _ in range(min(task.save_every, task.steps - state.step)):
            losses.append(training_step(task, state, draw(state.step, state.generator)))
        seconds = (time.perf_counter() - start) / len(losses)
        if is_first():
            judged = judge(task, state, validation, folder)
            _log(task, state, sum(losses) / len(losses), judged, seconds, folder / LOG_FILE)
        # the others wait for the first to say whether to go on
        state.n_since_best = gathered(state.n_since_best)[0]
        state.save(folder / STATE_FILE, task)
    return folder / WEIGHTS_FILE


def is_finished(task: Task[Any, Any], state: TrainingState[Any]) -> bool:
    """Whether all steps are done, or validation has not improved for too long."""
    out_of_patience = 0 < task.patience <= state.n_since_best
    return state.step >= task.steps or out_of_patience


def training_step(task: Task[Any, Any], state: TrainingState[Any], batch: Any) -> float:
    """One Adam step; returns the loss."""
    # The last steps see the statistics that inference will use, not those of one batch.
    state.network.train(state.step < task.steps - task.decay_steps)
    state.set_learning_rate(task.rate(state.step))
    return state.descend(task.loss_of(state.network, batch, state.step), task.gradient_clip)


@torch.no_grad()
def judge(
    task: Task[Any, Any], state: TrainingState[Any], validation: Sequence[Any], folder: Path
) -> Validation:
    """Validate, and write the last weights and, where they are, the best."""
    network = state.averaged.eval()
    judged = task.validate(network, validation)
    description = f"{state.step} steps, seed {task.seed}"
    task.save(folder / WEIGHTS_FILE, network, description)
    state.n_since_best += 1
    if judged.score < state.best_score:
        state.best_score, state.n_since_best = judged.score, 0
        task.save(folder / BEST_FILE, network, description)
    return judged


def _log(
    task: Task[Any, Any],
    state: TrainingState[Any],
    loss: float,
    judged: Validation,
    seconds: float,
    path: Path,
) -> None:
    (name, value), *others = judged.columns.items()
    hours = (task.steps - state.step) * seconds / 3600
    logger.info(
        "step %d: loss %.4f, %s %.4g; %.2f s/step, %.1f h to go",
        state.step, loss, name, value, seconds, hours,
    )  # fmt: skip
    row = {
        "step": str(state.step),
        "loss": f"{loss:.5f}",
        name: f"{value:.3f}",
        "learning_rate": f"{task.rate(state.step - 1):.2e}",
        **{other: f"{number:.4f}" for other, number in others},
    }
    header = list(row)
    if path.exists():  # perhaps of an older version, which had other columns
        with path.open(newline="") as stream:
            header = next(csv.reader(stream, delimiter="\t"))
    is_new = not path.exists()
    with path.open("a", newline="") as stream:
        writer = csv.DictWriter(stream, header, delimiter="\t", extrasaction="ignore")
        if is_new:
            writer.writeheader()
        writer.writerow(row)
