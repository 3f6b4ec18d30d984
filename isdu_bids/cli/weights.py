"""``isdu-qsm weights``: list, add and verify weights of the network."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from isdu_bids.cli.arguments import Parser, positive
from isdu_bids.errors import DataError
from isdu_bids.networks.registry import ISDU
from isdu_bids.networks.weights import (
    Weights,
    add_weights,
    available_weights,
    load_weights,
    recorded_sha256,
)


def add_arguments(parser: Parser) -> None:
    """Add what the command takes."""
    verbs = parser.add_subparsers(dest="verb", required=True, parser_class=Parser)
    verbs.add_parser("list", help="names, sizes, SHA-256")
    adding = verbs.add_parser("add", help="make a file known by name, for --weights NAME")
    adding.add_argument("file", type=Path, help="own safetensors or a published checkpoint")
    adding.add_argument("--name", help="(default: that of the file)")
    verifying = verbs.add_parser("verify", help="compare SHA-256 with the record, and try them")
    verifying.add_argument("names", nargs="*", metavar="NAME|PATH", help="(default: all known)")
    for verb in (adding, verifying):
        verb.add_argument(
            "--iterations", type=positive, metavar="K", help="where the file lacks it"
        )


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    if options.verb == "add":
        add(options.file, options.name, options.iterations)
    elif options.verb == "verify":
        verify(options.names, options.iterations)
    else:
        list_weights()


def list_weights() -> None:
    """Print every known network."""
    for name in available_weights():
        print(describe(load_weights(name)))


def add(file: Path, name: str | None, iterations: int | None) -> None:
    """Make a file known by name."""
    path, weights = add_weights(file, name, iterations=iterations)
    print(f"{path}\n{describe(weights)}")


def verify(names: Sequence[str], iterations: int | None) -> None:
    """Check that weights are what they were, load, and give a finite map.

    Raises
    ------
    DataError
        If one of that fails.
    """
    for name in names or available_weights():
        weights = load_weights(name, iterations=iterations)
        recorded = recorded_sha256(weights.name)
        if recorded not in (None, weights.sha256):
            raise DataError(
                f"weights {name} have SHA-256 {weights.sha256}, not {recorded} as recorded; "
                "the file is damaged or was replaced: install or add it again"
            )
        field = 0.01 * torch.randn((24, 24, 24), generator=torch.Generator().manual_seed(0))
        mask = torch.ones_like(field, dtype=torch.bool)
        geometry = {"voxel_size_mm": (1, 1, 1), "b0_direction": (0, 0, 1)}
        chi = ISDU(field, mask, weights=weights, **geometry).chi_ppm
        if not bool(torch.isfinite(chi).all()) or float(chi.abs().max()) == 0:
            raise DataError(f"weights {name} give no finite map")
        known = "as recorded" if recorded else "not recorded before"
        print(f"{weights.name}: sha256 {weights.sha256} ({known}), runs")


def describe(weights: Weights) -> str:
    """Four lines about a network of any family."""
    values = asdict(weights.network.architecture)
    kind = ", ".join(f"{name} {value}" for name, value in values.items() if value)
    n_parameters = sum(p.numel() for p in weights.network.parameters())
    trained = f"{weights.trained_at_mm:g} mm, axial" if weights.trained_at_mm else "any resolution"
    return (
        f"{weights.name}  {weights.family}: {n_parameters} parameters, trained for {trained}\n"
        f"  {kind}\n  sha256 {weights.sha256}\n  {weights.description}"
    )
