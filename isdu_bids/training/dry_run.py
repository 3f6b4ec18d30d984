"""What a training run will cost, found out by three steps of it."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import torch
from torch.utils.flop_counter import FlopCounterMode

from isdu_bids.segmentation.labels import SYNTHSEG_LABELS
from isdu_bids.segmentation.region_net import RegionNet
from isdu_bids.simulation.contrasts import draw_contrast
from isdu_bids.training.config import TrainingConfig
from isdu_bids.training.patch_set import PatchSetSettings
from isdu_bids.training.patch_source import training_patches
from isdu_bids.training.segmentation import SegmentationConfig, channels
from isdu_bids.training.segmentation import training_step as segmentation_step
from isdu_bids.training.state import TrainingState
from isdu_bids.training.trainer import new_network, training_step

_TIMED_STEPS = 2
Drawn = TypeVar("Drawn")


@dataclass(frozen=True)
class Cost:
    """Cost of one training run.

    Attributes
    ----------
    parameters
        Trained numbers.
    flop_per_step
        Multiplications and additions of all convolutions, forward and backward; FFTs (below a
        percent) are left out.
    memory_gb
        Most memory so far: of the graphics card, or of this process.
    seconds_per_step, patch_seconds_per_step
        Of a whole step, and of simulating or reading its patches, which is part of it.
    hours
        Of all steps; validations and the simulation of a fixed set of scans come on top.
    """

    parameters: int
    flop_per_step: int
    memory_gb: float
    seconds_per_step: float
    patch_seconds_per_step: float
    hours: float

    def __str__(self) -> str:
        return (
            f"parameters       {self.parameters:,}\n"
            f"per step         {self.flop_per_step / 1e9:.1f} GFLOP, "
            f"{self.seconds_per_step:.3g} s ({self.patch_seconds_per_step:.3g} s for patches)\n"
            f"memory           {self.memory_gb:.2f} GB\n"
            f"projected time   {self.hours:.1f} h"
        )


def measure_cost(
    config: TrainingConfig, heads: Sequence[torch.Tensor], scans: Path, device: str = "cpu"
) -> Cost:
    """Count and time a few steps on one head; nothing is kept but a simulated scan in ``scans``."""
    if isinstance(config.patches, PatchSetSettings):  # one scan is enough
        config = replace(
            config, patches=replace(config.patches, scans_per_head=1), subset_batches=0
        )
    state = TrainingState.new(config, new_network(config, device, None), device)
    source = training_patches(config, heads[:1], scans, device)
    return _measured(
        state.network,
        config.steps,
        lambda step: source.draw(step, state.generator),
        lambda patches: training_step(state, config, patches),
        device,
    )


def measure_segmentation_cost(
    config: SegmentationConfig, heads: Sequence[torch.Tensor], device: str = "cpu"
) -> Cost:
    """Count and time a few steps of a segmentation network; nothing is kept."""
    network = RegionNet(SYNTHSEG_LABELS, config.features).to(device)
    network = network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    state = TrainingState.new(config, network, device)
    channel_of = channels(network.labels, device)

    def draw(_: int) -> tuple[torch.Tensor, torch.Tensor]:
        image, labels = draw_contrast(heads[0], state.generator, config.contrast)
        return image, channel_of[labels]

    return _measured(
        network, config.steps, draw, lambda drawn: segmentation_step(state, config, *drawn), device
    )


def _measured(
    network: torch.nn.Module,
    steps: int,
    draw: Callable[[int], Drawn],
    train_on: Callable[[Drawn], float],
    device: str,
) -> Cost:
    """Count the first step, which also pays for set-up, and time the next ones."""
    counter = FlopCounterMode(display=False)
    drawn = draw(0)
    with counter:
        train_on(drawn)
    total = drawing = 0.0
    for step in range(1, 1 + _TIMED_STEPS):
        start = time.perf_counter()
        drawn = draw(step)
        middle = time.perf_counter()
        train_on(drawn)  # ends with the loss on the CPU: all is done
        total += time.perf_counter() - start
        drawing += middle - start
    seconds = total / _TIMED_STEPS
    return Cost(
        parameters=sum(p.numel() for p in network.parameters()),
        flop_per_step=counter.get_total_flops(),
        memory_gb=_peak_memory_gb(device),
        seconds_per_step=seconds,
        patch_seconds_per_step=drawing / _TIMED_STEPS,
        hours=steps * seconds / 3600,
    )


def _peak_memory_gb(device: str) -> float:
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kibibytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
