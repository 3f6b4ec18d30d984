"""The part of a volume around a mask that a method computes on, and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from isdu_bids.physics.padding import Box, fast_shape, mask_box


@dataclass(frozen=True)
class Window:
    """The box of a mask with room around it, on a grid whose FFT is fast.

    Attributes
    ----------
    volume_shape
        Of the volumes that it is cut from.
    box
        Where the mask lies in the volume.
    inner
        Where the box lies in the window; around it the window is zero.
    shape
        Of the window.

    Examples
    --------
    >>> mask = torch.zeros(20, 20, 20)
    >>> mask[4:15, 5:10, 2:3] = 1
    >>> window = Window.around(mask, after=(4, 0, 4))
    >>> window.cut(mask).shape, torch.equal(window.put_back(window.cut(mask)), mask)
    (torch.Size([16, 6, 6]), True)
    """

    volume_shape: tuple[int, ...]
    box: Box
    inner: Box
    shape: tuple[int, int, int]

    @classmethod
    def around(
        cls,
        mask: torch.Tensor,
        after: Sequence[int] = (0, 0, 0),
        before: Sequence[int] = (0, 0, 0),
    ) -> Window:
        """Window of a mask ``(x, y, z)`` with at least so many voxels of room after and before.

        A convolution by FFT wraps around, so that room after the box protects both of its sides.
        """
        box = mask_box(mask)
        x, y, z = (slice(room, room + n) for n, room in zip(mask[box].shape, before, strict=True))
        shape = fast_shape([part.stop + n for part, n in zip((x, y, z), after, strict=True)])
        return cls(tuple(mask.shape), box, (x, y, z), shape)

    @classmethod
    def whole(cls, volume: torch.Tensor) -> Window:
        """Window that is a volume ``(x, y, z)`` itself."""
        x, y, z = volume.shape
        box = slice(0, x), slice(0, y), slice(0, z)
        return cls(tuple(volume.shape), box, box, (x, y, z))

    def cut(self, volume: torch.Tensor) -> torch.Tensor:
        """Volume on the window, zero around the box of the mask."""
        window = volume.new_zeros(self.shape)
        window[self.inner] = volume[self.box]
        return window

    def put_back(self, window: torch.Tensor) -> torch.Tensor:
        """Volume that holds what the window has in the box of the mask, and zero around it."""
        volume = window.new_zeros(self.volume_shape)
        volume[self.box] = window[self.inner]
        return volume


def in_voxels(length_mm: float, voxel_size_mm: Sequence[float]) -> list[int]:
    """Length along each axis, rounded to whole voxels."""
    return [round(length_mm / size) for size in voxel_size_mm]
