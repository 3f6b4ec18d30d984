"""Patches side by side, and what is made of the susceptibility that a network finds in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from isdu_bids.simulation.patches import Patch
from isdu_bids.training.losses import paper_loss, susceptibility_loss


@dataclass(frozen=True)
class Batch:
    """Patches side by side, ``(batch, 1, x, y, z)``."""

    field_ppm: torch.Tensor
    mask: torch.Tensor
    chi_ppm: torch.Tensor
    kernel: torch.Tensor
    field_sd_ppm: torch.Tensor | None

    @classmethod
    def of(cls, patches: Sequence[Patch], dc_value: float = 0.0) -> Batch:
        """Batch of patches, with the dipole kernel of some value at k = 0."""
        field, mask, chi = (
            torch.stack([getattr(patch, name) for patch in patches])
            for name in ("field_ppm", "mask", "chi_ppm")
        )
        field_sds = [patch.field_sd_ppm for patch in patches if patch.field_sd_ppm is not None]
        kernel = torch.stack([patch.kernel for patch in patches])[:, None]
        kernel[..., 0, 0, 0] = dc_value
        return cls(field, mask, chi, kernel, torch.stack(field_sds) if field_sds else None)

    def inverted_by(self, network: torch.nn.Module) -> torch.Tensor:
        """Return what a network of any family makes of the fields."""
        chi: torch.Tensor = network(self.field_ppm, self.mask, self.kernel, self.field_sd_ppm)
        return chi


#: Losses of a susceptibility found in a batch, by name.
LOSSES: Mapping[str, Callable[[torch.Tensor, Batch], torch.Tensor]] = {
    "masked": lambda chi, b: susceptibility_loss(chi, b.chi_ppm, b.mask, b.kernel),
    "paper": lambda chi, b: paper_loss(chi, b.chi_ppm, b.mask, b.kernel, b.field_ppm),
}


def nrmse_percent(network: torch.nn.Module, batches: Sequence[Batch]) -> float:
    """Mean over batches of the demeaned NRMSE (%) inside the mask."""
    errors = []
    for batch in batches:
        inside, truth = batch.mask > 0, batch.chi_ppm
        error, truth = (batch.inverted_by(network) - truth)[inside], truth[inside]
        errors.append(100 * float(error.std() / truth.std().clamp(min=1e-4)))
    return sum(errors) / len(errors)
