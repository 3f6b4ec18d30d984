"""What the iterative inversions start from: a field in a window, its weights, the dipole kernel."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from isdu_bids.inversion.result import Inverted
from isdu_bids.physics.dipole import dipole_kernel, from_spectrum
from isdu_bids.physics.window import Window, in_voxels

Vector = Sequence[float]

#: Zero field kept around the mask: with half as much, chi changes by 0.8 % (median).
MARGIN_MM = 32.0
#: Largest weight of a voxel relative to the median.
HEAVIEST = 4.0


@dataclass(frozen=True)
class Problem:
    """A field to invert, cut out around its mask; volumes have the shape of the window.

    Attributes
    ----------
    window
        Where the volumes lie in the scan.
    voxel_size_mm
        Voxel edge lengths.
    mask
        1 where susceptibility is sought.
    field_ppm
        Field, zero where it has no weight.
    weight
        Of the squared misfit: proportional to 1/variance, 1 on average over the mask, zero outside.
    kernel
        Half spectrum of the unit dipole.
    """

    window: Window
    voxel_size_mm: tuple[float, ...]
    mask: torch.Tensor
    field_ppm: torch.Tensor
    weight: torch.Tensor
    kernel: torch.Tensor

    @classmethod
    def around(
        cls,
        field_ppm: torch.Tensor,
        mask: torch.Tensor,
        voxel_size_mm: Vector,
        b0_direction: Vector,
        magnitude: torch.Tensor | None = None,
        field_sd_ppm: torch.Tensor | None = None,
    ) -> Problem:
        """Cut out what lies around the mask; see `variance_weight` for the last two arguments."""
        weight = variance_weight(mask.bool(), magnitude, field_sd_ppm)
        window = Window.around(mask, in_voxels(MARGIN_MM, voxel_size_mm))
        return cls(
            window,
            tuple(voxel_size_mm),
            window.cut(mask.float()),
            window.cut(torch.where(weight > 0, field_ppm.float(), 0.0)),
            window.cut(weight),
            dipole_kernel(window.shape, voxel_size_mm, b0_direction, device=mask.device),
        )

    def inverted(self, chi: torch.Tensor, iterations: int = 1, change: float = 0.0) -> Inverted:
        """Put the susceptibility, or the one of a half spectrum, back into the whole volume."""
        if chi.is_complex():
            chi = from_spectrum(chi, self.window.shape)
        return Inverted(self.window.put_back(chi * self.mask), iterations, change)


def iterate(
    step: Callable[[torch.Tensor], torch.Tensor],
    unknown: torch.Tensor,
    tolerance: float,
    iterations: int,
) -> tuple[torch.Tensor, int, float]:
    """Take steps until one is small relative to where it leads, but not more than ``iterations``.

    Returns
    -------
    tuple
        The unknown, the number of steps, the relative size of the last one.
    """
    change, taken = math.inf, 0
    while taken < iterations and not change < tolerance:
        previous, unknown = unknown, step(unknown)
        size = float(unknown.norm())
        change = float((unknown - previous).norm()) / size if size else 0.0
        taken += 1
    return unknown, taken, change


def variance_weight(
    mask: torch.Tensor,
    magnitude: torch.Tensor | None = None,
    field_sd_ppm: torch.Tensor | None = None,
) -> torch.Tensor:
    """Weight of each voxel's squared misfit, 1 on average over the mask and zero outside.

    It is ``1 / field_sd^2``, or ``magnitude^2``, which is proportional to it for one echo, or 1.
    A voxel whose field is not known at all has an infinite standard deviation, or no magnitude.
    None counts more than `HEAVIEST` times the median one: an estimate of the deviation may be 0.
    """
    weight = mask.float()
    if field_sd_ppm is not None:
        weight = torch.where(mask, field_sd_ppm.float() ** -2, 0.0)
    elif magnitude is not None:
        weight = torch.where(mask, magnitude.float() ** 2, 0.0)
    weight = weight.clamp(max=HEAVIEST * weight[weight > 0].median())
    return weight / weight[mask].mean()
