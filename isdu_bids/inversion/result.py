"""What an inversion returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from isdu_bids.networks.inference import Unrolled


@dataclass(frozen=True)
class Inverted:
    """Susceptibility, and how the iteration that found it ended.

    Attributes
    ----------
    chi_ppm
        Susceptibility, zero outside the mask and not yet referenced.
    iterations
        Steps taken; 0 for a method that takes none.
    relative_change
        Size of the last step relative to the susceptibility.
    iterates, lambdas
        Of an unrolled network: the susceptibility after each iteration, ``(iteration, x, y, z)``,
        and the weight of its denoiser's proposal against the data.
    """

    chi_ppm: torch.Tensor
    iterations: int = 0
    relative_change: float = 0.0
    iterates: torch.Tensor | None = None
    lambdas: tuple[float, ...] = ()

    @classmethod
    def of(cls, result: torch.Tensor | Unrolled | Inverted) -> Inverted:
        """Wrap what any method returns."""
        if isinstance(result, Unrolled):
            return cls(result.chi_ppm, iterates=result.iterates, lambdas=result.lambdas)
        return result if isinstance(result, Inverted) else cls(result)

    @property
    def convergence(self) -> dict[str, Any]:
        """What a sidecar says of the iteration; empty where there was none."""
        if self.lambdas:
            return {"inversion_lambdas": [float(f"{weight:.3g}") for weight in self.lambdas]}
        if not self.iterations:
            return {}
        return {
            "inversion_iterations": self.iterations,
            "inversion_relative_change": float(f"{self.relative_change:.3g}"),
        }
