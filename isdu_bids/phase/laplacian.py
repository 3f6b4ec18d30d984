"""Laplacian unwrapping: the Poisson equation of the wrapped phase differences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.fft import dctn, idctn

from isdu_bids.phase.wrapping import BoolArray, FloatArray, align_echoes, congruent, wrap


def unwrap_laplacian(
    phase_rad: FloatArray,
    *,
    mask: BoolArray,
    echo_times_s: Sequence[float],
    voxel_size_mm: Sequence[float],
    exact: bool,
) -> FloatArray:
    r"""Least-squares solution of ``lap(phi) = div(wrap(grad P))`` over the whole volume.

    Neumann boundaries, solved by cosine transforms; differences along an axis weigh 1/size^2. It
    never leaves fringe lines but spreads errors: only with ``exact``, which adds to the wrapped
    phase the whole turns nearest to the solution, is the result congruent with the input.

    References
    ----------
    Ghiglia & Romero 1994, doi:10.1364/JOSAA.11.000107; Schofield & Zhu 2003,
    doi:10.1364/OL.28.001194.
    """
    unwrapped = np.zeros_like(phase_rad)
    for echo, phase in enumerate(phase_rad):
        smooth = _solve_poisson(phase, voxel_size_mm)
        # The equation leaves a constant open: the circular mean of what is missing.
        smooth += np.angle(np.exp(1j * (phase - smooth)[mask]).sum())
        unwrapped[echo] = congruent(phase, smooth) if exact else smooth
    unwrapped[:, ~mask] = 0
    return align_echoes(unwrapped, mask, echo_times_s)


def _solve_poisson(phase: FloatArray, voxel_size_mm: Sequence[float]) -> FloatArray:
    divergence = np.zeros_like(phase)
    eigenvalues = np.zeros(phase.shape, np.float32)
    for axis, (n, size) in enumerate(zip(phase.shape, voxel_size_mm, strict=True)):
        flux = wrap(np.diff(phase, axis=axis)) / np.float32(size**2)
        border = [(int(axis == other), int(axis == other)) for other in range(3)]
        divergence += np.diff(np.pad(flux, border), axis=axis)
        along = (2 * np.cos(np.pi * np.arange(n) / n) - 2) / size**2
        eigenvalues += along.astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
    eigenvalues[0, 0, 0] = 1
    spectrum = dctn(divergence, type=2) / eigenvalues
    spectrum[0, 0, 0] = 0
    return np.asarray(idctn(spectrum, type=2), np.float32)
