"""Sums and means over blocks of voxels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from isdu_bids.phase.wrapping import FloatArray


def block_sums(volume: npt.NDArray[Any], block: Sequence[int]) -> npt.NDArray[Any]:
    """Sum over blocks of so many voxels; what does not fill a block at the end is left out."""
    return _in_blocks(volume, block).sum(axis=(1, 3, 5))


def block_means(volume: npt.NDArray[Any], block: Sequence[int]) -> FloatArray:
    """Mean over blocks of so many voxels; what does not fill a block at the end is left out."""
    return _in_blocks(volume, block).mean(axis=(1, 3, 5), dtype=np.float32)


def _in_blocks(volume: npt.NDArray[Any], block: Sequence[int]) -> npt.NDArray[Any]:
    """Shape ``(x, block_x, y, block_y, z, block_z)``."""
    n = [size // edge for size, edge in zip(volume.shape, block, strict=True)]
    cropped = volume[tuple(slice(0, k * edge) for k, edge in zip(n, block, strict=True))]
    return cropped.reshape([length for pair in zip(n, block, strict=True) for length in pair])
