"""``isdu-qsm methods``: the methods of ``isdu-bids``, their parameters, units and references."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from isdu_bids.cli.arguments import METHODS, Parser
from isdu_bids.registry import Registry


def add_arguments(parser: Parser) -> None:
    """Add what the command takes."""
    parser.add_argument("option", nargs="?", choices=METHODS, help="of isdu-bids (default: all)")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    for name in [options.option] if options.option else METHODS:
        print("\n".join(described(name, METHODS[name])), end="\n\n")


def described(option: str, registry: Registry) -> Iterator[str]:
    """Lines on the methods of one option."""
    yield f"--{option} (default: {registry.default})"
    for name, method in registry.offered.items():
        cited = f" [{method.reference}]" if method.reference else ""
        yield f"  {name}: {method.description}{cited}"
        for parameter in method.parameters:
            yield f"    {parameter}  {parameter.help}"
