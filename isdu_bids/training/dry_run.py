"""What a training run will cost, found out by three steps of it."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from isdu_bids.training.distributed import n_processes
from isdu_bids.training.state import TrainingState
from isdu_bids.training.task import Task
from isdu_bids.training.trainer import training_step

_TIMED_STEPS = 2


@dataclass(frozen=True)
class Cost:
    """Cost of one training run.

    Attributes
    ----------
    samples_per_step, processes
        Patches or images over which a step averages, in all processes, and how many these are.
    parameters
        Trained numbers.
    flop_per_step
        Multiplications and additions of all convolutions, forward and backward; FFTs (below a
        percent) are left out.
    memory_gb
        Most memory so far: of the graphics card, or of this process.
    seconds_per_step, drawing_seconds_per_step
        Of a whole step, and of simulating or reading its samples, which is part of it.
    hours
        Of all steps; validations and the simulation of a fixed set of scans come on top.
    """

    samples_per_step: int
    processes: int
    parameters: int
    flop_per_step: int
    memory_gb: float
    seconds_per_step: float
    drawing_seconds_per_step: float
    hours: float

    def __str__(self) -> str:
        n = self.processes
        together = f" ({n} processes; FLOP and memory are of one)" if n > 1 else ""
        return (
            f"samples per step {self.samples_per_step:,}{together}\n"
            f"parameters       {self.parameters:,}\n"
            f"per step         {self.flop_per_step / 1e9:.1f} GFLOP, "
            f"{self.seconds_per_step:.3g} s ({self.drawing_seconds_per_step:.3g} s for samples)\n"
            f"memory           {self.memory_gb:.2f} GB\n"
            f"projected time   {self.hours:.1f} h"
        )


def measure_cost(
    task: Task[Any, Any], heads: Sequence[torch.Tensor], scans: Path, device: str = "cpu"
) -> Cost:
    """Count and time a few steps on one head; nothing is kept but a simulated scan in ``scans``.

    The first step is counted, and pays for set-up; the next ones are timed.
    """
    task = task.on_little_data()
    state = TrainingState.new(task, device)
    draw = task.training_batches(heads[:1], scans, device)
    batch = draw(0, state.generator)
    with FlopCounterMode(display=False) as counter:
        training_step(task, state, batch)
    training = drawing = 0.0
    for step in range(1, 1 + _TIMED_STEPS):
        start = time.perf_counter()
        batch = draw(step, state.generator)
        middle = time.perf_counter()
        training_step(task, state, batch)  # ends with the loss on the CPU: all is done
        drawing += (middle - start) * task.draws_per_step
        training += time.perf_counter() - middle
    seconds = (training + drawing) / _TIMED_STEPS
    return Cost(
        samples_per_step=task.batch_size * n_processes(),
        processes=n_processes(),
        parameters=sum(p.numel() for p in state.network.parameters()),
        flop_per_step=counter.get_total_flops(),
        memory_gb=_peak_memory_gb(device),
        seconds_per_step=seconds,
        drawing_seconds_per_step=drawing / _TIMED_STEPS,
        hours=task.steps * seconds / 3600,
    )


def _peak_memory_gb(device: str) -> float:
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kibibytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
