"""``isdu-qsm train``: train a network, or say what that would cost."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path

import torch

from isdu_bids.errors import UsageError
from isdu_bids.files import read_toml
from isdu_bids.images import load_labels
from isdu_bids.physics.device import resolve_device
from isdu_bids.simulation.susceptibility import check_labels
from isdu_bids.training.config import parse_config
from isdu_bids.training.distributed import n_processes
from isdu_bids.training.dry_run import measure_cost, measure_segmentation_cost
from isdu_bids.training.segmentation import parse_segmentation_config, train_segmentation
from isdu_bids.training.trainer import SCANS_FOLDER, train

#: What a recipe trains, by its key ``task``.
TASKS = ("inversion", "segmentation")


def run_training(
    config_file: Path,
    head_files: Sequence[Path],
    validation_files: Sequence[Path],
    folder: Path,
    *,
    device: str = "auto",
    warm_start: Path | None = None,
    dry_run: bool = False,
) -> str:
    """Train, and return the path of the weights; a dry run returns the cost.

    Raises
    ------
    UsageError
        If the recipe cannot be used.
    """
    content, origin = read_toml(config_file), str(config_file)
    task = content.pop("task", TASKS[0])
    if task not in TASKS:
        raise UsageError(f"{origin}: task = {task!r} is unknown; known are {', '.join(TASKS)}")
    if task == "segmentation" and warm_start:
        raise UsageError("--warm-start copies the iterations of an ISDU-QSMNet; leave it out")
    resolved = str(resolve_device(device))
    if task == "segmentation":
        recipe = parse_segmentation_config(content, origin)
        heads = [load_head(file).to(resolved) for file in head_files]
        if dry_run:
            cost = measure_segmentation_cost(recipe, heads, resolved)
            return f"voxels per step  {_of_all(prod(recipe.contrast.size))}\n{cost}"
        others = [load_head(file).to(resolved) for file in validation_files]
        return str(train_segmentation(recipe, heads, others, folder, device=resolved))
    config = parse_config(content, origin)
    heads = [load_head(file) for file in head_files]
    if dry_run:
        cost = measure_cost(config, heads, folder / SCANS_FOLDER, resolved)
        return f"patches per step {_of_all(config.batch_size)}\n{cost}"
    others = [load_head(file) for file in validation_files]
    return str(train(config, heads, others, folder, device=resolved, warm_start=warm_start))


def _of_all(batch: int) -> str:
    """Size of the batch over which a step averages."""
    n = n_processes()
    return f"{batch * n:,}" + (f" ({n} processes; FLOP and memory are of one)" if n > 1 else "")


def load_head(file: Path) -> torch.Tensor:
    """Label map of a head, axes turned to RAS+.

    Raises
    ------
    DataError
        If the labels are not those that the simulation knows.
    """
    labels = torch.from_numpy(load_labels(file))
    check_labels(labels, str(file))
    return labels
