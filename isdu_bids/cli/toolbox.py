"""``isdu-qsm``: tools beside the BIDS App, one module of this package each.

A module has ``add_arguments(parser)`` and ``run(options)``; only that of the command given is
imported, so that help is instant.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from isdu_bids import __version__
from isdu_bids.cli.arguments import Parser
from isdu_bids.errors import IsduError

COMMANDS = {
    "demo": "simulate a head, run isdu-bids on it, compare",
    "simulate": "write simulated scans of label maps as a BIDS dataset with its truth",
    "invert": "compute susceptibility from a field",
    "segment": "label the regions of an image of any contrast",
    "regions": "statistics of a map per anatomical region",
    "evaluate": "compare maps of several methods with the truth",
    "methods": "list the methods of isdu-bids and their parameters",
    "train": "train a network on label maps of heads",
    "cluster": "submit a dataset as one job array, follow it, submit again what failed",
    "weights": "list, add and verify weights of the network",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a tool and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        options = build_parser(words[:1]).parse_args(words)
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
        _module(options.command).run(options)
    except IsduError as error:
        print(f"isdu-qsm: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def build_parser(given: Sequence[str]) -> Parser:
    """Parser of ``isdu-qsm``, with the arguments of those commands that are given."""
    parser = Parser(prog="isdu-qsm", description="Tools for quantitative susceptibility mapping.")
    parser.add_argument("--version", action="version", version=f"isdu-qsm {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=Parser)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary)
        if name in given:
            _module(name).add_arguments(command)
    return parser


def _module(command: str) -> Any:
    return import_module(f"isdu_bids.cli.{command}")


if __name__ == "__main__":
    sys.exit(main())
