"""Patches per second of simulation and of training, on the CPU and on a GPU if there is one.

    python benchmarks/throughput.py [CONFIG.toml] [--heads LABELS...] [--patches 20] [--size N]

Without a configuration the defaults of training, without heads a drawn one. Set
``OMP_NUM_THREADS``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from isdu_bids.cli.train import load_head
from isdu_bids.simulation.demo_head import demo_head
from isdu_bids.training.inversion import Inversion
from isdu_bids.training.state import TrainingState
from isdu_bids.training.tasks import load_task
from isdu_bids.training.trainer import training_step


def per_second(work: Callable[[], object], n: int, device: str) -> float:
    """Return the calls per second, after one to warm up."""
    work()
    _wait(device)
    start = time.perf_counter()
    for _ in range(n):
        work()
    _wait(device)
    return n / (time.perf_counter() - start)


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("config", type=Path, nargs="?")
    parser.add_argument("--heads", type=Path, nargs="+", default=[])
    parser.add_argument("--patches", type=int, default=20)
    parser.add_argument("--size", type=int, help="of a patch")
    options = parser.parse_args()
    task = load_task(options.config) if options.config else Inversion()
    if not (isinstance(task, Inversion) and task.sampling == "random"):
        parser.error("give a recipe with sampling = 'random'")
    task = replace(task, reuse=1)
    if options.size:
        task = replace(task, patches=replace(task.patches, size=options.size))
    head = (
        load_head(options.heads[0])
        if options.heads
        else demo_head((168, 204, 186), (1.0, 1.0, 1.0), torch.Generator().manual_seed(0))
    )
    print(f"patches of {task.patches.size} voxels, batches of {task.batch_size}")
    print("device  threads  simulated/s  trained/s  both/s")
    n = max(1, options.patches // task.batch_size)
    for device in ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]:
        state = TrainingState.new(task, device)
        draw = task.training_batches([head], Path(), device)
        batch = draw(0, state.generator)
        simulate = partial(draw, 0, state.generator)
        learn = partial(training_step, task, state, batch)
        simulated, trained = (
            task.batch_size * per_second(work, n, device) for work in (simulate, learn)
        )
        both = 1 / (1 / simulated + 1 / trained)
        threads = torch.get_num_threads()
        print(f"{device:6s}  {threads:7d}  {simulated:11.2f}  {trained:9.2f}  {both:6.2f}")


if __name__ == "__main__":
    main()
