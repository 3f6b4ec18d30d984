"""Is this scan what it says it is? Polarity of slices, sign of the phase."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
import torch
from scipy import ndimage

from isdu_bids.geometry import unit_vector
from isdu_bids.phase.blocks import block_means
from isdu_bids.phase.ghosts import ghost_fraction
from isdu_bids.phase.wrapping import BoolArray, FloatArray, wrap
from isdu_bids.physics.dipole import forward_field

#: Susceptibility of tissue against air (ppm).
_TISSUE_PPM = -9.4
#: Voxel axes and diagonals, one of each pair of opposite directions.
_DIRECTIONS = tuple(way for way in product((-1, 0, 1), repeat=3) if way > (0, 0, 0))
#: In sound heads no direction correlates better than the true one by more than 0.03; others at 45
#: degrees do worse by 0.1 to 0.4.
_BETTER = 0.1
#: Ghosts that are stronger fill the air with what passes for tissue.
_GHOST = 0.12


def repair_slice_polarity(
    phase_rad: FloatArray, magnitude: FloatArray
) -> tuple[FloatArray, tuple[str, ...]]:
    """Undo a phase that flips by pi from slice to slice, as some GE reconstructions leave it.

    Along every axis the signals of neighbours are compared: where the sum of ``conj(S_k) S_k+1``
    points backwards by more than half of its absolute sum, every second slice of this echo is
    turned by pi; and that of later echoes, once the first is turned, if theirs points backwards at
    all.

    Parameters
    ----------
    phase_rad, magnitude
        Shape ``(echo, x, y, z)``.

    Returns
    -------
    phase_rad, flags
        The repaired phase with the flag ``slice_polarity_repaired``, or the input and no flag.
    """
    turned = np.zeros_like(phase_rad)
    for axis, n in enumerate(magnitude.shape[1:]):
        if n < 4:
            continue
        alternate = np.float32(np.pi) * (np.arange(n) % 2).astype(np.float32)
        alternate = np.expand_dims(alternate, [other for other in range(3) if other != axis])
        limit = -0.5
        for echo, (phase, size) in enumerate(zip(phase_rad + turned, magnitude, strict=True)):
            lower, upper = (np.delete(size, end, axis) for end in (-1, 0))
            weight = lower * upper
            if (weight * np.cos(np.diff(phase, axis=axis))).sum() < limit * weight.sum():
                turned[echo] += alternate
                limit = 0.0 if echo == 0 else limit
    if not turned.any():
        return phase_rad, ()
    return wrap(phase_rad + turned), ("slice_polarity_repaired",)


@dataclass(frozen=True)
class SignCheck:
    """Whether paramagnetic sources come out positive.

    Attributes
    ----------
    verdict
        *right*, *reversed*, or *unclear* where the head does not show enough of its outline.
    correlation
        Of the measured field with the one that a head of tissue in air must have.
    best_direction
        Of B0, among voxel axes and diagonals, where it fits the field much better than the stated
        one does.
    """

    verdict: Literal["right", "reversed", "unclear"]
    correlation: float
    best_direction: tuple[int, ...] | None = None


def check_sign(
    field_hz: FloatArray,
    magnitude: FloatArray,
    mask: BoolArray,
    voxel_size_mm: Sequence[float],
    b0_direction: Sequence[float],
) -> SignCheck:
    """Compare the total field with the field of the head's own shape.

    Tissue is diamagnetic against the air around it and in its sinuses, which fixes the sign of the
    background field in the brain, whatever the scanner. Both fields are freed of what a shim
    changes (polynomials up to second order) before they are correlated.

    Parameters
    ----------
    field_hz
        Total field by the convention of this package, shape ``(x, y, z)``.
    magnitude
        First echo, or any other image of the whole head, same shape.
    mask
        Brain.
    voxel_size_mm, b0_direction
        From the affine.
    """
    bright = float(np.percentile(magnitude[mask], 50)) if mask.any() else 0.0
    head = ndimage.binary_closing(magnitude > 0.2 * bright)
    step = [max(1, round(4 / size)) for size in voxel_size_mm]
    tissue = torch.from_numpy(block_means(head, step))
    size_mm = [size * n for size, n in zip(voxel_size_mm, step, strict=True)]
    inside = block_means(mask & head, step) > 0.99  # a mask may hold air, whose phase is noise
    if inside.sum() < 200:
        return SignCheck("unclear", 0.0)
    measured = _without_shim(block_means(np.where(mask, field_hz, 0), step), inside)

    def correlation_along(direction: Sequence[float]) -> float:
        expected = forward_field(_TISSUE_PPM * tissue, size_mm, direction).numpy()
        return float(np.corrcoef(measured, _without_shim(expected, inside))[0, 1])

    correlation = correlation_along(b0_direction)
    has_ghost = ghost_fraction(magnitude, mask) > _GHOST
    if not np.isfinite(correlation) or abs(correlation) < 0.25 or has_ghost:
        return SignCheck("unclear", correlation if np.isfinite(correlation) else 0.0)
    if correlation < 0:
        return SignCheck("reversed", correlation)
    others = {way: correlation_along(unit_vector(way)) for way in _DIRECTIONS}
    best = max(others, key=others.__getitem__)
    is_better = others[best] > correlation + _BETTER
    return SignCheck("right", correlation, best if is_better else None)


def _without_shim(volume: FloatArray, inside: BoolArray) -> FloatArray:
    x, y, z = (2 * (np.argwhere(inside) / inside.shape) - 1).T
    terms = np.stack([x**0, x, y, z, x * x, y * y, z * z, x * y, y * z, x * z], axis=1)
    values = volume[inside]
    return np.asarray(values - terms @ np.linalg.lstsq(terms, values, rcond=None)[0], np.float32)
