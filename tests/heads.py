"""A small simulated head as BIDS, for tests of the whole app."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from isdu_bids.bids.simulated import write_simulated_dataset, write_simulated_scan
from isdu_bids.geometry import b0_direction, voxel_size_mm
from isdu_bids.simulation.demo_head import demo_head
from isdu_bids.simulation.scan import simulate_scan

SHAPE = (44, 52, 47)
ECHO_TIMES_S = (0.005, 0.012, 0.019)


def tilted_affine() -> np.ndarray:
    """4 mm voxels, first axis to the left, tilted by 15 degrees."""
    tilt = np.deg2rad(15)
    affine = np.eye(4)
    affine[1:3, 1:3] = [[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]]
    affine[:3, 0] *= -1
    affine[:3, :3] *= 4.0
    return affine


def write_head(dataset: Path, subject: str) -> None:
    """Write a small simulated head as a BIDS subject."""
    affine = tilted_affine()
    generator = torch.Generator().manual_seed(int(subject))
    size = voxel_size_mm(affine)
    scan = simulate_scan(
        demo_head(SHAPE, size, generator),
        generator,
        voxel_size_mm=size,
        b0_direction=b0_direction(affine),
        echo_times_s=ECHO_TIMES_S,
    )
    write_simulated_dataset(dataset)
    write_simulated_scan(dataset, subject, scan, affine, ECHO_TIMES_S, 3.0)
