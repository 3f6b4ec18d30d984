"""Whether all images of a scan lie the same way, none mirrored against the others.

What changes in an image when it is mirrored, its antisymmetric part, has the opposite sign in a
mirrored copy. So the correlation of the antisymmetric parts of two images of one object tells
whether one of them is mirrored, however little of it is not symmetric.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from isdu_bids.errors import DataError
from isdu_bids.phase.blocks import block_means
from isdu_bids.phase.magnitudes import head_of
from isdu_bids.phase.wrapping import BoolArray, FloatArray

#: Correlation of antisymmetric parts. Phase is smooth where the magnitude is bright: 0.4 to 0.8 in
#: sound heads, and 0.8 to 1 for magnitudes of two echoes; a symmetric object gives noise about 0.
_MIRRORED = -0.2
#: Edge of the blocks over whose means noise cancels.
_BLOCK_MM = 4.0
_AXES = [axes for n in (1, 2, 3) for axes in combinations(range(3), n)]


def refuse_mirrored_images(
    phase_rad: FloatArray,
    magnitude: FloatArray,
    voxel_size_mm: Sequence[float],
    phase_names: Sequence[str],
    magnitude_names: Sequence[str],
) -> None:
    """Compare every magnitude with the first one, and the first one with the first phase.

    All phases are compared with each other elsewhere.

    Parameters
    ----------
    phase_rad, magnitude
        Shape ``(echo, x, y, z)``; NaN marks missing voxels of the phase.
    voxel_size_mm
        Edge lengths.
    phase_names, magnitude_names
        Of the files, one per echo, for messages.

    Raises
    ------
    DataError
        If one is mirrored along one axis or more.
    """
    block = [max(1, round(_BLOCK_MM / size)) for size in voxel_size_mm]
    seen = np.isfinite(phase_rad[0]) & (phase_rad[0] != 0)
    smooth = block_means(smoothness(np.where(seen, phase_rad[0], 0)), block)
    coarse = np.stack([block_means(echo, block) for echo in magnitude])
    first, head = coarse[0], head_of(coarse)
    for echo, name in zip(coarse[1:], magnitude_names[1:], strict=True):
        _refuse(echo, first, head, first > 0, (name, magnitude_names[0]))
    seen = (first > 0) & (block_means(seen, block) == 1)
    _refuse(smooth, first, head, seen, (phase_names[0], magnitude_names[0]))


def smoothness(phase_rad: FloatArray) -> FloatArray:
    """Mean cosine of the second difference of wrapped phase along the three axes: 1 without noise.

    At the edges of the volume the difference is taken as 0.
    """
    total = np.zeros_like(phase_rad)
    for axis in range(3):
        difference = np.diff(phase_rad, n=2, axis=axis)
        inner = tuple(slice(1, -1) if k == axis else slice(None) for k in range(3))
        total[inner] += np.cos(difference)
    return total / np.float32(3)


def antisymmetric_correlation(
    image: FloatArray, other: FloatArray, seen: BoolArray, axes: tuple[int, ...]
) -> float:
    """Correlation of what mirroring along these axes changes in two images; NaN if in one nothing.

    Parameters
    ----------
    image, other
        Shape ``(x, y, z)``.
    seen
        Voxels of both that count, where their mirror images do as well.
    axes
        To mirror along.
    """
    both = seen & np.flip(seen, axes)
    changes = [(volume - np.flip(volume, axes))[both] for volume in (image, other)]
    products = np.array([[np.vdot(one, two) for two in changes] for one in changes])
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(products[0, 1] / np.sqrt(products[0, 0] * products[1, 1]))


def _refuse(
    image: FloatArray, other: FloatArray, head: BoolArray, seen: BoolArray, names: tuple[str, str]
) -> None:
    for axes in _AXES:
        near = seen & (head | np.flip(head, axes))
        if antisymmetric_correlation(image, other, near, axes) < _MIRRORED:
            directions = " and ".join(str(axis + 1) for axis in axes)
            raise DataError(
                f"{names[0]} does not lie on {names[1]}: one is mirrored (voxel axis "
                f"{directions}), moved or of inverse contrast; convert the scan again"
            )
