"""``isdu-qsm train``: train a network, or say what that would cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from isdu_bids.images import load_labels
from isdu_bids.physics.device import resolve_device
from isdu_bids.simulation.susceptibility import check_labels
from isdu_bids.training.config import load_config
from isdu_bids.training.dry_run import measure_cost
from isdu_bids.training.trainer import SCANS_FOLDER, train


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
    """Train, and return the path of the weights; a dry run returns the cost."""
    config = load_config(config_file)
    resolved = str(resolve_device(device))
    heads = [load_head(file) for file in head_files]
    if dry_run:
        return str(measure_cost(config, heads, folder / SCANS_FOLDER, resolved))
    validation_heads = [load_head(file) for file in validation_files]
    return str(train(config, heads, validation_heads, folder, device=resolved,
                     warm_start=warm_start))  # fmt: skip


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
