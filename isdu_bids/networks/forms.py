"""The form in which inference runs a trained denoiser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from isdu_bids.networks.boxes import Active, run_stages
from isdu_bids.networks.denoisers import SimpleCNN, WideResNet
from isdu_bids.networks.multiscale import MultiScale
from isdu_bids.networks.pyramid import Pyramid
from isdu_bids.networks.stages import Stage


class Form(Protocol):
    """A denoiser whose batch norms are folded, ready to run in boxes around a mask."""

    def reach(self, output: int | None) -> int:
        """Voxels around the mask that a volume must hold for `run` to be exact."""

    def run(
        self, volume: torch.Tensor, background: torch.Tensor, active: Active, needed: int | None
    ) -> torch.Tensor:
        """Output of the denoiser for one volume; arguments as for `boxes.run_stages`."""


@dataclass(frozen=True)
class Chain:
    """Inference form of denoisers at one resolution."""

    stages: list[Stage]

    def reach(self, output: int | None) -> int:
        """Voxels around the mask that a volume must hold for `run` to be exact."""
        total = sum(stage.reach for stage in self.stages)
        return total if output is None else min(total, output + total // 2 + 1)

    def run(
        self, volume: torch.Tensor, background: torch.Tensor, active: Active, needed: int | None
    ) -> torch.Tensor:
        """Output of the denoiser for one volume; arguments as for `boxes.run_stages`."""
        return run_stages(self.stages, volume, background, active, needed)


def inference_form(denoiser: nn.Module) -> Form | None:
    """Inference form of a trained denoiser, or ``None`` for one that has none."""
    if isinstance(denoiser, WideResNet | SimpleCNN):
        return Chain(denoiser.stages())
    return Pyramid.of(denoiser) if isinstance(denoiser, MultiScale) else None
