"""Phase unwrapping methods by name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.fft import dctn, idctn
from skimage.restoration import unwrap_phase

from isdu_bids.phase.romeo import unwrap_romeo
from isdu_bids.phase.wrapping import BoolArray, FloatArray, align_echoes, congruent, wrap
from isdu_bids.registry import Method, Registry


def unwrap_laplacian(
    phase_rad: FloatArray,
    *,
    magnitude: FloatArray | None,  # noqa: ARG001 - every unwrapping method takes the same arguments
    mask: BoolArray,
    echo_times_s: Sequence[float],
    voxel_size_mm: Sequence[float],
    exact: bool = False,
) -> FloatArray:
    r"""Least-squares solution of the Poisson equation of the wrapped phase differences.

    ``phi = L^-1 div(wrap(grad P))`` with Neumann boundaries, solved by cosine transforms. It never
    leaves fringe lines, but spreads errors: only with ``exact`` does the result differ from the
    wrapped phase by whole turns. Each axis is weighted by 1/size^2, so steps over long voxel edges
    count less.

    References
    ----------
    Ghiglia & Romero 1994, doi:10.1364/JOSAA.11.000107; Schofield & Zhu 2003,
    doi:10.1364/OL.28.001194.
    """
    unwrapped = np.zeros_like(phase_rad)
    for echo, phase in enumerate(phase_rad):
        smooth = _solve_poisson(phase, voxel_size_mm)
        # The equation leaves a constant open: take the circular mean of what is missing.
        smooth += np.angle(np.exp(1j * (phase - smooth))[mask].sum())
        unwrapped[echo] = congruent(phase, smooth) if exact else smooth
    unwrapped[:, ~mask] = 0
    return align_echoes(unwrapped, mask, echo_times_s)


def _solve_poisson(phase: FloatArray, voxel_size_mm: Sequence[float]) -> FloatArray:
    divergence = np.zeros_like(phase)
    eigenvalues = np.zeros(phase.shape, np.float32)
    for axis, (n, size) in enumerate(zip(phase.shape, voxel_size_mm, strict=True)):
        flux = wrap(np.diff(phase, axis=axis)) / np.float32(size**2)
        edge = [(int(axis == other), int(axis == other)) for other in range(3)]
        divergence += np.diff(np.pad(flux, edge), axis=axis)
        along = (2 * np.cos(np.pi * np.arange(n) / n) - 2) / size**2
        eigenvalues += along.astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
    eigenvalues[0, 0, 0] = 1
    spectrum = dctn(divergence, type=2) / eigenvalues
    spectrum[0, 0, 0] = 0
    return idctn(spectrum, type=2)  # type: ignore[no-any-return]


def unwrap_best_path(
    phase_rad: FloatArray,
    *,
    magnitude: FloatArray | None,  # noqa: ARG001 - every unwrapping method takes the same arguments
    mask: BoolArray,
    echo_times_s: Sequence[float],
    voxel_size_mm: Sequence[float],  # noqa: ARG001
) -> FloatArray:
    """Unwrap each echo along its most reliable path, with scikit-image.

    References
    ----------
    Abdul-Rahman et al. 2007, doi:10.1364/AO.46.006623.
    """
    unwrapped = np.zeros_like(phase_rad)
    for echo, phase in enumerate(phase_rad):
        unwrapped[echo] = np.ma.filled(unwrap_phase(np.ma.array(phase, mask=~mask)), 0)
    return align_echoes(unwrapped, mask, echo_times_s)


UNWRAPPING = Registry(
    "unwrapping",
    Method(
        "romeo",
        unwrap_romeo,
        "Region growing along the most reliable edges, in space and over echoes.",
        "10.1002/mrm.28563",
        {"multi_echo": "template"},
    ),
    Method(
        "laplacian",
        unwrap_laplacian,
        "Poisson equation of the wrapped differences: no fringe lines, but not exact.",
        "10.1364/OL.28.001194",
        {"exact": False},
    ),
    Method(
        "best_path",
        unwrap_best_path,
        "Sorting by reliability of second differences (scikit-image).",
        "10.1364/AO.46.006623",
    ),
)
