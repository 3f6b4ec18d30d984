"""Linear resampling axis by axis: grids that are scaled or reversed, never turned."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import torch

from isdu_bids.physics.padding import along


def interpolated(volume: torch.Tensor, positions: Sequence[torch.Tensor]) -> torch.Tensor:
    """Sample a volume linearly at one row of positions per axis; edges continue outside."""
    for axis, row in enumerate(positions):
        last = volume.shape[axis] - 1
        row = row.to(volume.device).clamp(0, last)
        low = row.floor().long()
        fraction = along((row - low).to(volume.dtype), axis)
        below = volume.index_select(axis, low)
        volume = below.lerp_(volume.index_select(axis, (low + 1).clamp(max=last)), fraction)
    return volume


def axis_positions(n: int, factor: float, reverse: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Place new voxels in units of the old ones, and old voxels in units of the new ones.

    Both grids begin at the same outer edge, so the first new centre is at (1 - f) / 2f.

    Parameters
    ----------
    n, factor
        Old voxels, and the size of an old voxel in units of a new one.
    reverse
        Whether the new voxels run the other way.
    """
    start = (1 - factor) / (2 * factor)
    m = ceil(n * factor)
    there = start + torch.arange(m, dtype=torch.float64) / factor
    back = (torch.arange(n, dtype=torch.float64) - start) * factor
    return (there.flip(0), m - 1 - back) if reverse else (there, back)
