"""``isdu-qsm``: tools beside the BIDS App. Heavy modules are imported when they are needed."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from isdu_bids import __version__
from isdu_bids.cli.parser import Parser, device_name
from isdu_bids.errors import IsduError


def build_parser() -> Parser:
    """Return the parser of ``isdu-qsm``."""
    parser = Parser(prog="isdu-qsm", description="Tools for quantitative susceptibility mapping.")
    parser.add_argument("--version", action="version", version=f"isdu-qsm {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=Parser)

    demo = commands.add_parser("demo", help="simulate a head, run isdu-bids on it, compare")
    demo.add_argument(
        "folder",
        type=Path,
        nargs="?",
        default=Path("isdu-demo"),
        help="where to write (default: %(default)s)",
    )
    demo.add_argument("--seed", type=int, default=0, help="of the simulation")
    demo.set_defaults(action=_demo)

    train = commands.add_parser("train", help="train an ISDU-QSMNet on simulated anatomy")
    train.add_argument("config", type=Path, help="TOML file, see docs/training.md")
    train.add_argument(
        "--heads",
        type=Path,
        nargs="+",
        required=True,
        metavar="LABELS",
        help="label maps (NIfTI, 1 mm, FreeSurfer labels) to train on",
    )
    train.add_argument("--validation-heads", type=Path, nargs="+", required=True, metavar="LABELS")
    train.add_argument("-o", "--output", type=Path, required=True, help="folder; resumed if there")
    train.add_argument(
        "--warm-start",
        type=Path,
        metavar="WEIGHTS",
        help="K = 1 weights copied into every iteration",
    )
    train.add_argument("--device", type=device_name, default="auto")
    train.set_defaults(action=_train)

    weights = commands.add_parser("weights", help="list packaged weights, or describe a file")
    weights.add_argument("file", nargs="?", help="name or path")
    weights.set_defaults(action=_weights)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a tool and return its exit code."""
    try:
        options = build_parser().parse_args(arguments)
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
        options.action(options)
    except IsduError as error:
        print(f"isdu-qsm: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _demo(options: argparse.Namespace) -> None:
    from isdu_bids.cli.demo import run_demo

    run_demo(options.folder, options.seed)


def _train(options: argparse.Namespace) -> None:
    import torch

    from isdu_bids.images import load_labels
    from isdu_bids.physics.device import resolve_device
    from isdu_bids.training.config import load_config
    from isdu_bids.training.trainer import train

    path = train(
        load_config(options.config),
        [torch.from_numpy(load_labels(head)) for head in options.heads],
        [torch.from_numpy(load_labels(head)) for head in options.validation_heads],
        options.output,
        device=str(resolve_device(options.device)),
        warm_start=options.warm_start,
    )
    print(path)


def _weights(options: argparse.Namespace) -> None:
    from isdu_bids.networks.weights import available_weights, load_weights

    for name in [options.file] if options.file else available_weights():
        weights = load_weights(name)
        network = weights.network.architecture
        kind = "shared" if network.shared else "unshared"
        print(
            f"{weights.name}  K={network.iterations} {kind}, depth {network.depth}, "
            f"{network.features} features\n  sha256 {weights.sha256}\n  {weights.description}"
        )


if __name__ == "__main__":
    sys.exit(main())
