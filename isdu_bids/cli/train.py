"""``isdu-qsm train``: train a network, or say what that would cost."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from isdu_bids.cli.arguments import Parser, device_name
from isdu_bids.images import load_labels
from isdu_bids.physics.device import resolve_device
from isdu_bids.simulation.susceptibility import check_labels
from isdu_bids.training.distributed import is_first, joined_processes
from isdu_bids.training.dry_run import measure_cost
from isdu_bids.training.tasks import load_task
from isdu_bids.training.trainer import SCANS_FOLDER, train


def add_arguments(parser: Parser) -> None:
    """Add what the command takes."""
    parser.add_argument(
        "config", type=Path, help="TOML file, see docs/training.md and docs/segmentation.md"
    )
    parser.add_argument(
        "--heads",
        type=Path,
        nargs="+",
        required=True,
        metavar="LABELS",
        help="label maps (NIfTI, 1 mm, FreeSurfer labels) to train on",
    )
    parser.add_argument("--validation-heads", type=Path, nargs="+", required=True, metavar="LABELS")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder; resumed if there")
    parser.add_argument(
        "--warm-start",
        type=Path,
        metavar="WEIGHTS",
        help="weights of the same network to start from, or of one whose first denoiser to copy "
        "into every iteration",
    )
    parser.add_argument("--device", type=device_name, default="auto")
    parser.add_argument(
        "--dry-run", action="store_true", help="print parameters, FLOP, memory and projected hours"
    )


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    with joined_processes(options.device) as device:
        answer = run_training(
            options.config,
            options.heads,
            options.validation_heads,
            options.output,
            device=device,
            warm_start=options.warm_start,
            dry_run=options.dry_run,
        )
        if is_first():
            print(answer)


def run_training(
    recipe: Path,
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
    task = load_task(recipe)
    device = str(resolve_device(device))
    heads = [load_head(file) for file in head_files]
    if dry_run:
        return str(measure_cost(task, heads, folder / SCANS_FOLDER, device))
    others = [load_head(file) for file in validation_files]
    return str(train(task, heads, others, folder, device=device, warm_start=warm_start))


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
