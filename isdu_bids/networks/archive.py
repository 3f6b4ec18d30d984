"""A network in a safetensors file: its tensors, and what else it takes to build it as metadata."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from isdu_bids.files import replacing


def write_network(
    path: Path, network: nn.Module, metadata: Mapping[str, str], *, half: bool = False
) -> None:
    """Write the tensors of a network, floats in 16 bits with ``half``."""
    tensors = {
        name: (tensor.half() if half and tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in network.state_dict().items()
    }
    with replacing(path) as partial:
        save_file(tensors, partial, dict(metadata))


def read_network(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors and metadata of a file.

    Raises
    ------
    safetensors.SafetensorError, OSError
        If it is damaged or not there.
    """
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return tensors, dict(file.metadata() or {})
