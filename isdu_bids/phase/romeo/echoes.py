"""ROMEO on one or several echoes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from isdu_bids.phase.romeo.growing import grow
from isdu_bids.phase.romeo.weights import Edges
from isdu_bids.phase.wrapping import TWO_PI, BoolArray, FloatArray, align_echoes, congruent, wrap

#: A phase that differs by less from its prediction cannot be a turn off, noise allowing.
_TRUSTED_RAD = np.pi / 2


def unwrap_romeo(
    phase_rad: FloatArray,
    *,
    magnitude: FloatArray | None = None,
    mask: BoolArray,
    echo_times_s: Sequence[float],
    multi_echo: Literal["template", "individual"],
) -> FloatArray:
    """Unwrap along the most reliable path through the volume.

    *template* unwraps the first echo in space and every later one in time, against the field of
    the echoes before it; voxels that lie far from that prediction follow their neighbours'
    distance from it. *individual* unwraps each echo in space and afterwards settles whole turns
    between echoes.

    Parameters
    ----------
    phase_rad
        Wrapped phase, shape ``(echo, x, y, z)``; without offset, where there are several echoes.
    magnitude
        Same shape, or None.
    mask
        Voxels to unwrap; others come back as 0.
    echo_times_s
        Echo times in seconds.
    multi_echo
        See above.

    Returns
    -------
    ndarray
        float32, shape ``(echo, x, y, z)``, rad. Islands of the mask each lie around zero turns.

    References
    ----------
    Dymerska et al. 2021, doi:10.1002/mrm.28563.
    """
    box = _bounding_box(mask)
    phase, inner_mask = phase_rad[:, *box], mask[box]
    inner_magnitude = None if magnitude is None else magnitude[:, *box]
    method = _template if multi_echo == "template" else _individual
    unwrapped = np.zeros_like(phase_rad)
    inner = method(phase, inner_magnitude, inner_mask, echo_times_s)
    unwrapped[:, *box] = np.where(inner_mask, inner, 0)
    return unwrapped


def _template(
    phase: FloatArray,
    magnitude: FloatArray | None,
    mask: BoolArray,
    echo_times_s: Sequence[float],
) -> FloatArray:
    bins = _edges(phase, magnitude, mask, echo_times_s, 0).bins()
    unwrapped = np.zeros_like(phase)
    unwrapped[0] = centre_regions(*grow(phase[0], bins, mask))
    moment, mixed = np.zeros_like(phase[0]), np.zeros_like(phase[0])
    for echo in range(1, len(phase)):
        # Least squares through the origin, by all echoes so far, foretells the next one.
        time, next_time = np.float32(echo_times_s[echo - 1]), np.float32(echo_times_s[echo])
        weight = np.float32(1) if magnitude is None else magnitude[echo - 1] ** 2
        moment += weight * time**2
        mixed += weight * time * unwrapped[echo - 1]
        prediction = mixed / np.where(moment > 0, moment, 1) * next_time
        rest = wrap(phase[echo] - prediction)
        # What the prediction leaves is smooth even where the phase itself is steep.
        rest, _ = grow(rest, bins, mask, trusted=np.abs(rest) < _TRUSTED_RAD)
        unwrapped[echo] = congruent(phase[echo], prediction + rest)
    return unwrapped


def _individual(
    phase: FloatArray,
    magnitude: FloatArray | None,
    mask: BoolArray,
    echo_times_s: Sequence[float],
) -> FloatArray:
    unwrapped = np.stack(
        [
            centre_regions(
                *grow(
                    phase[echo],
                    _edges(phase, magnitude, mask, echo_times_s, echo).bins(),
                    mask,
                )
            )
            for echo in range(len(phase))
        ]
    )
    return align_echoes(unwrapped, mask, echo_times_s)


def _edges(
    phase: FloatArray,
    magnitude: FloatArray | None,
    mask: BoolArray,
    echo_times_s: Sequence[float],
    echo: int,
) -> Edges:
    """Edges of one echo, with the echo before it (for the first: the one after it) as second."""
    volume = None if magnitude is None else magnitude[echo]
    if len(phase) == 1:
        return Edges(phase[0], mask, volume)
    second = echo - 1 if echo > 0 else 1
    ratio = echo_times_s[echo] / echo_times_s[second]
    return Edges(phase[echo], mask, volume, phase[second], ratio)


def centre_regions(unwrapped_rad: FloatArray, region: npt.NDArray[np.int32]) -> FloatArray:
    """Move each grown region by whole turns so that its median comes within half a turn of 0."""
    numbers, values = region.reshape(-1), unwrapped_rad.reshape(-1).copy()
    inside = np.flatnonzero(numbers)
    if n_regions := int(numbers.max(initial=0)):
        inside = inside[np.argsort(numbers[inside], kind="stable")]
        ends = np.cumsum(np.bincount(numbers[inside], minlength=n_regions + 1)[1:])
        for voxels in np.split(inside, ends[:-1]):
            values[voxels] -= TWO_PI * np.rint(np.median(values[voxels]) / TWO_PI)
    return values.reshape(unwrapped_rad.shape)


def _bounding_box(mask: BoolArray) -> tuple[slice, slice, slice]:
    if not mask.any():
        return (slice(0), slice(0), slice(0))
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    return box[0], box[1], box[2]
