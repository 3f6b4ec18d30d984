"""A second look at the deep nuclei, by a network that also sees the susceptibility.

In a magnitude the borders of caudate, putamen and pallidum come and go with echo time and flip
angle; their iron shows in every susceptibility map.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from isdu_bids.physics.padding import Box
from isdu_bids.segmentation.labels import DEEP_NUCLEI
from isdu_bids.segmentation.region_net import CHI_UNIT_PPM, RegionNet, box_around

#: What the network was trained on, in voxels of 1 mm around the middle of the nuclei.
BOX_VOXELS = (96, 96, 64)
#: Of the nuclei's voxels, what may be astray at either end.
_ASTRAY = 0.01


def look_again(
    posteriors: torch.Tensor,
    image: torch.Tensor,
    chi_ppm: torch.Tensor,
    network: RegionNet,
    posteriors_of: Callable[[RegionNet, torch.Tensor], torch.Tensor],
) -> None:
    """Put the posteriors of a network for the surroundings of the nuclei in place of others.

    Parameters
    ----------
    posteriors
        Of every label of the network, ``(label, x, y, z)``, changed in place; without nuclei they
        stay as they are.
    image
        Conformed magnitude, ``(x, y, z)``.
    chi_ppm
        Susceptibility on the same grid, zero where it is not known; its mean does not matter.
    network
        With two inputs and the same labels.
    posteriors_of
        Says what a network makes of an image ``(1, input, x, y, z)``.
    """
    box = nuclei_box(posteriors, network)
    if box is None:
        return
    known = chi_ppm != 0
    centred = torch.where(known, chi_ppm - chi_ppm[known].mean(), 0.0) if known.any() else chi_ppm
    seen = torch.stack([image[box], centred[box] / CHI_UNIT_PPM])
    # the mean of both was tried: Dice of the nuclei is 0.02 to 0.04 lower
    posteriors[(slice(None), *box)] = posteriors_of(network, seen[None])


def nuclei_box(posteriors: torch.Tensor, network: RegionNet) -> Box | None:
    """Box around the middle of the deep nuclei; None without any, or in a smaller volume."""
    best = torch.tensor(network.labels, device=posteriors.device)[posteriors.argmax(0)]
    found = torch.isin(best, torch.tensor(DEEP_NUCLEI, device=best.device)).nonzero().float()
    if len(found) == 0 or any(n < b for n, b in zip(best.shape, BOX_VOXELS, strict=True)):
        return None
    ends = found.sort(0)[0][[int(_ASTRAY * len(found)), int((1 - _ASTRAY) * (len(found) - 1))]]
    return box_around(ends.mean(0).tolist(), BOX_VOXELS, best.shape)
