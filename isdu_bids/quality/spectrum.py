"""Streaks: the signature of an inversion that divided by almost nothing."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from isdu_bids.physics.dipole import dipole_kernel, spectrum
from isdu_bids.physics.power import spectral_mean, wave_number_per_mm
from isdu_bids.physics.window import Window

#: Where the dipole passes less than this, the field holds next to nothing about the map.
CONE = 0.05
_N_SHELLS = 8


def streak_index(
    chi_ppm: npt.NDArray[Any],
    mask: npt.NDArray[np.bool_],
    voxel_size_mm: Sequence[float],
    b0_direction: Sequence[float],
) -> float:
    """Spectral power of the map near the dipole's zero cone, relative to the rest.

    Power is averaged over ``|D(k)| < 0.05`` and over all other directions within shells of equal
    ``|k|`` and their ratio over shells (geometric mean), from a quarter of the lowest Nyquist
    frequency to it. Anatomy has no reason to prefer the cone: about 1 is right, much more is
    streaks, much less is a cone that was left empty.

    Returns
    -------
    float
        Dimensionless; NaN for an empty mask or a map that is constant or not finite in it.
    """
    values = chi_ppm[mask]
    if not values.size or not np.isfinite(values).all() or np.ptp(values) == 0:
        return float("nan")
    centred = np.where(mask, chi_ppm - values.mean(), 0).astype(np.float32)
    window = Window.around(torch.from_numpy(mask))
    power = spectrum(window.cut(torch.from_numpy(centred))).abs().square()
    in_cone = dipole_kernel(window.shape, voxel_size_mm, b0_direction).abs() < CONE
    wave_number = wave_number_per_mm(window.shape, voxel_size_mm)
    nyquist = 0.5 / max(voxel_size_mm)
    edges = np.linspace(nyquist / 4, nyquist, _N_SHELLS + 1)
    ratios = []
    for low, high in pairwise(edges):
        shell = (wave_number >= low) & (wave_number < high)
        cone, rest = (spectral_mean(power, window.shape, shell & w) for w in (in_cone, ~in_cone))
        if cone > 0 and rest > 0:  # which NaN, the mean of nothing, is not
            ratios.append(cone / rest)
    return float(np.exp(np.mean(np.log(ratios)))) if ratios else float("nan")
