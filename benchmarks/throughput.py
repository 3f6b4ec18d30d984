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
from pathlib import Path

import torch

from isdu_bids.cli.train import load_head
from isdu_bids.networks.unrolled import Architecture
from isdu_bids.simulation.demo_head import demo_head
from isdu_bids.simulation.patches import PatchSettings, draw_patch
from isdu_bids.training.config import TrainingConfig, load_config
from isdu_bids.training.state import TrainingState
from isdu_bids.training.trainer import new_network, training_step


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
    default = TrainingConfig(Architecture(), PatchSettings())
    config = load_config(options.config) if options.config else default
    if not isinstance(config.patches, PatchSettings):
        parser.error("give a configuration with sampling = 'random'")
    if options.size:
        config = replace(config, patches=replace(config.patches, size=options.size))
    settings = config.patches
    head = (
        load_head(options.heads[0])
        if options.heads
        else demo_head((168, 204, 186), (1.0, 1.0, 1.0), torch.Generator().manual_seed(0))
    )
    print(f"patches of {settings.size} voxels, batches of {config.batch_size}")
    print("device  threads  simulated/s  trained/s  both/s")
    for device in ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]:
        labels = head.to(device)
        state = TrainingState.new(config, new_network(config, device, None), device)

        def draw(labels=labels, state=state):
            batch = range(config.batch_size)
            return [draw_patch(labels, state.generator, settings) for _ in batch]

        batch = draw()

        def step(state=state, batch=batch):
            training_step(state, config, batch)

        n = max(1, options.patches // config.batch_size)
        simulated = config.batch_size * per_second(draw, n, device)
        trained = config.batch_size * per_second(step, n, device)
        both = 1 / (1 / simulated + 1 / trained)
        threads = torch.get_num_threads()
        print(f"{device:6s}  {threads:7d}  {simulated:11.2f}  {trained:9.2f}  {both:6.2f}")


if __name__ == "__main__":
    main()
