"""What an inversion may take for the misfit of a field, as proximal maps for `admm`.

``w`` is `Problem.weight`, y the measured field; near the truth all three count errors in ppm^2 of
a voxel of mean weight, so that a penalty means about the same to the first two.
"""

from __future__ import annotations

from math import pi

import torch

from isdu_bids.inversion.gradients import soft_threshold
from isdu_bids.inversion.problem import Problem

ROUNDS = 3
#: Size of a residual that an absolute misfit counts like a squared one; sets the pace only.
TYPICAL_RESIDUAL_PPM = 0.002


class Squares:
    """``w (z - y)^2 / 2``: Gaussian noise of the field."""

    def __init__(self, problem: Problem) -> None:
        self.weight, self.field = problem.weight, problem.field_ppm
        self.weighted_field = self.weight * self.field

    def __call__(self, near: torch.Tensor, coupling: float) -> torch.Tensor:
        """Proximal map."""
        return torch.add(self.weighted_field, near, alpha=coupling).div_(self.weight + coupling)


class Phasors:
    """``w |exp(i s z) - exp(i s y)|^2 / (2 s^2)``: Gaussian noise of the complex signal.

    A wrap left in the field does not count, and large misfits count little. s is the phase (rad)
    that one ppm builds up until the echo time.
    """

    def __init__(self, problem: Problem, rad_per_ppm: float) -> None:
        self.weight, self.field, self.scale = problem.weight, problem.field_ppm, rad_per_ppm

    def slope(self, z: torch.Tensor) -> torch.Tensor:
        """Differentiate the misfit by z."""
        return self.weight * torch.sin(self.scale * (z - self.field)) / self.scale

    def __call__(self, near: torch.Tensor, coupling: float) -> torch.Tensor:
        """Proximal map: least squares with a weight that falls as the residual r grows.

        ``1 - cos r <= sin(r0) / r0 * r^2 / 2 + const``, equal at r0, so every round descends.
        """
        z = near
        for _ in range(ROUNDS):
            angle = torch.remainder(self.scale * (z - self.field) + pi, 2 * pi) - pi
            weight = self.weight * torch.sinc(angle / pi)
            z = (weight * (z - angle / self.scale) + coupling * near) / (weight + coupling)
        return z


class Absolutes:
    """``r sqrt(w) |z - y|``: a misfit that outliers do not dominate."""

    def __init__(self, problem: Problem) -> None:
        self.root_weight, self.field = problem.weight.sqrt(), problem.field_ppm

    def __call__(self, near: torch.Tensor, coupling: float) -> torch.Tensor:
        """Proximal map."""
        limit = TYPICAL_RESIDUAL_PPM * self.root_weight / coupling
        return self.field + soft_threshold(near - self.field, limit)
