"""Means over all frequencies of a real volume, of which its half spectrum stores one of a pair."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from isdu_bids.physics.padding import along


def wave_number_per_mm(shape: Sequence[int], voxel_size_mm: Sequence[float]) -> torch.Tensor:
    """``|k|`` (cycles/mm) of the half spectrum of volumes ``(x, y, z)``."""
    squared = torch.zeros((), dtype=torch.float64)
    for axis, (n, size) in enumerate(zip(shape, voxel_size_mm, strict=True)):
        frequencies = torch.fft.rfftfreq if axis == 2 else torch.fft.fftfreq
        squared = squared + along(frequencies(n, float(size), dtype=torch.float64).square(), axis)
    return squared.sqrt()


def multiplicity(shape: Sequence[int]) -> torch.Tensor:
    """How often each plane of the half spectrum occurs in the whole one, ``(shape[2] // 2 + 1)``.

    Twice, but for the planes without frequency and, where there is one, of the Nyquist frequency.
    Sums that leave this out depend on which axis is stored last.
    """
    n = shape[2]
    times = torch.full((n // 2 + 1,), 2.0)
    times[0] = 1.0
    if n % 2 == 0:
        times[n // 2] = 1.0
    return times


def spectral_mean(
    values: torch.Tensor, shape: Sequence[int], where: torch.Tensor | None = None
) -> float:
    """Mean of the values at a half spectrum over the whole one.

    Parameters
    ----------
    values
        At the half spectrum of volumes of this shape, even in k (a power, a squared kernel).
    shape
        Of the volume.
    where
        Frequencies that count; by default all.

    Returns
    -------
    float
        NaN where none counts.
    """
    times = multiplicity(shape).to(values.device).expand_as(values)
    if where is not None:
        values, times = values[where], times[where]
    return float((values * times).sum(dtype=torch.float64) / times.sum(dtype=torch.float64))
