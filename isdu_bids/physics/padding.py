"""Boxes of volumes: bounding boxes, zero padding, fast FFT sizes, values along one axis."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from scipy.fft import next_fast_len

Box = tuple[slice, slice, slice]


def fast_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    """Smallest even, FFT-friendly shape that holds ``shape``.

    Examples
    --------
    >>> fast_shape((97, 160, 61))
    (100, 160, 64)
    """
    x, y, z = (2 * next_fast_len((n + 1) // 2, real=True) for n in shape)
    return x, y, z


def mask_box(mask: torch.Tensor, margin: Sequence[int] = (0, 0, 0)) -> Box:
    """Bounding box of a 3D mask, ``margin`` voxels wider, clipped to the volume.

    An empty mask gives the whole volume.
    """
    slices = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        (hit,) = torch.nonzero(mask.bool().amax(others), as_tuple=True)
        size = mask.shape[axis]
        start, stop = (int(hit[0]), int(hit[-1]) + 1) if len(hit) else (0, size)
        slices.append(slice(max(0, start - margin[axis]), min(size, stop + margin[axis])))
    return slices[0], slices[1], slices[2]


def pad_to(volume: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Zero-pad the last three axes at their ends to ``shape``; ``[..., :x, :y, :z]`` undoes it."""
    short = [target - size for target, size in zip(shape, volume.shape[-3:], strict=True)]
    if min(short) < 0:
        raise ValueError(f"cannot pad {tuple(volume.shape[-3:])} to the smaller {tuple(shape)}")
    return F.pad(volume, (0, short[2], 0, short[1], 0, short[0]))


def along(values: torch.Tensor, axis: int) -> torch.Tensor:
    """Shape a row of values so that it varies along one axis of a volume."""
    return values.reshape([-1 if other == axis else 1 for other in range(3)])
