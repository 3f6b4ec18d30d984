"""``isdu-qsm weights``: list, add and verify weights of the network."""

from __future__ import annotations

import argparse
from dataclasses import asdict

import torch

from isdu_bids.errors import DataError
from isdu_bids.networks.inference import isdu
from isdu_bids.networks.weights import (
    Weights,
    add_weights,
    available_weights,
    load_weights,
    recorded_sha256,
)


def list_weights(options: argparse.Namespace) -> None:
    """Print every known network."""
    for name in available_weights():
        print(describe(load_weights(name)))


def add(options: argparse.Namespace) -> None:
    """Make a file known by name."""
    path, weights = add_weights(options.file, options.name, iterations=options.iterations)
    print(f"{path}\n{describe(weights)}")


def verify(options: argparse.Namespace) -> None:
    """Check that weights are what they were, load, and give a finite map.

    Raises
    ------
    DataError
        If one of that fails.
    """
    for name in options.names or available_weights():
        weights = load_weights(name, iterations=options.iterations)
        recorded = recorded_sha256(weights.name)
        if recorded not in (None, weights.sha256):
            raise DataError(
                f"weights {name} have SHA-256 {weights.sha256}, not {recorded} as recorded; "
                "the file is damaged or was replaced: install or add it again"
            )
        field = 0.01 * torch.randn((24, 24, 24), generator=torch.Generator().manual_seed(0))
        mask = torch.ones_like(field, dtype=torch.bool)
        chi = isdu(field, mask, voxel_size_mm=(1, 1, 1), b0_direction=(0, 0, 1), weights=weights)
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
