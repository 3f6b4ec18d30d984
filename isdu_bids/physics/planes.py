"""Large networks a few planes at a time: the same result in less memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

#: Planes computed at once: a whole head by SynthSeg at full width would need 7 GB.
SLAB_PLANES = 32


def in_slabs(compute: Callable[[slice], torch.Tensor], planes: int, halo: int) -> torch.Tensor:
    """Join what ``compute`` makes of slabs with a margin, which is then cut off: exact.

    Parameters
    ----------
    compute
        Result ``(b, c, x, y, z)`` for some of the planes along x.
    planes
        How many there are.
    halo
        Planes beyond a slab that its result depends on, or more.
    """
    if planes <= SLAB_PLANES:
        return compute(slice(0, planes))
    joined: torch.Tensor | None = None
    for start in range(0, planes, SLAB_PLANES):
        stop = min(start + SLAB_PLANES, planes)
        low, high = max(start - halo, 0), min(stop + halo, planes)
        slab = compute(slice(low, high))[:, :, start - low : stop - low]
        if joined is None:
            joined = slab.new_empty((*slab.shape[:2], planes, *slab.shape[3:]))
        joined[:, :, start:stop] = slab
    assert joined is not None
    return joined


def on_planes(block: nn.Module, x: torch.Tensor, planes: slice) -> torch.Tensor:
    """Compute a block on some planes along x."""
    return block(x[:, :, planes])


def split_planes(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Slabs of features ``(b, c, x, y, z)``, without margin."""
    return x.split(SLAB_PLANES, dim=2)
