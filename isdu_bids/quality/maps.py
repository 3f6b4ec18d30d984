"""All maps of one scan on its own voxel grid: what is measured and what is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from isdu_bids.geometry import Triple, voxel_size_mm

Volume = npt.NDArray[Any]


@dataclass(frozen=True)
class ScanMaps:
    """Maps by the names that they have in the workflow and in the table of outputs.

    Attributes
    ----------
    magnitude
        Shape ``(echo, x, y, z)``.
    brain_mask, eroded_mask
        Mask of the brain, and where the local field and the susceptibility are valid.
    total_field_ppm, local_field_ppm, chi_ppm
        Shape ``(x, y, z)``.
    quality
        Phase quality between 0 and 1 (best), shape ``(x, y, z)``.
    affine
        Voxel to world (RAS+, mm), shape ``(4, 4)``.
    b0_direction
        Unit vector in voxel axes.
    field_strength_t, echo_times_s
        Of the acquisition.
    phase, unwrapped
        Wrapped and unwrapped phase (rad), shape ``(echo, x, y, z)``.
    r2star, t2star, s0
        Relaxation maps (1/s, s, arbitrary); None where there are too few echoes.
    field_sd_ppm, chi_sd
        Standard deviations of total field and susceptibility (ppm), where they were computed.
    iterates, lambdas
        Susceptibility after each iteration of an unrolled network (ppm, not referenced), shape
        ``(iteration, x, y, z)``, and the weights of its denoisers' proposals against the data.
    labels
        FreeSurfer's numbers, 0 is background; None: not segmented.
    """

    magnitude: Volume
    brain_mask: Volume
    eroded_mask: Volume
    total_field_ppm: Volume
    local_field_ppm: Volume
    quality: Volume
    chi_ppm: Volume
    affine: Volume
    b0_direction: Triple
    field_strength_t: float
    echo_times_s: Sequence[float]
    phase: Volume | None = None
    unwrapped: Volume | None = None
    r2star: Volume | None = None
    t2star: Volume | None = None
    s0: Volume | None = None
    field_sd_ppm: Volume | None = None
    chi_sd: Volume | None = None
    iterates: Volume | None = None
    lambdas: Sequence[float] = ()
    labels: Volume | None = None

    @cached_property
    def voxel_size_mm(self) -> Triple:
        """Edge lengths of a voxel."""
        return voxel_size_mm(self.affine)

    @cached_property
    def voxel_ml(self) -> float:
        """Volume of a voxel."""
        return float(np.prod(self.voxel_size_mm)) / 1000

    @cached_property
    def brain(self) -> npt.NDArray[np.bool_]:
        """The brain mask for indexing."""
        return self.brain_mask.astype(bool)

    @cached_property
    def eroded(self) -> npt.NDArray[np.bool_]:
        """The eroded mask for indexing."""
        return self.eroded_mask.astype(bool)

    @cached_property
    def chi(self) -> Volume:
        """Susceptibility (ppm) of the voxels in the eroded mask."""
        return np.asarray(self.chi_ppm[self.eroded])


#: Names of the volumes.
MAP_NAMES = tuple(
    f.name for f in fields(ScanMaps) if str(f.type).startswith("Volume") and f.name != "affine"
)


def mean(values: Volume) -> float:
    """Return the mean of the finite values; NaN if there are none."""
    values = _finite(values)
    return float(values.mean(dtype=np.float64)) if values.size else float("nan")


def sd(values: Volume) -> float:
    """Return the standard deviation of the finite values; NaN if there are none."""
    values = _finite(values)
    return float(values.std(dtype=np.float64)) if values.size else float("nan")


def percentile(values: Volume, percent: float) -> float:
    """Return a percentile of the finite values; NaN if there are none."""
    values = _finite(values)
    return float(np.percentile(values, percent)) if values.size else float("nan")


def _finite(values: Volume) -> Volume:
    return np.asarray(values[np.isfinite(values)])
