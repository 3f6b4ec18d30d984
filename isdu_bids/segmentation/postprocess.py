"""From what a network says to clean posteriors: mirrored average, smoothing, one piece each.

The steps are those of SynthSeg (Billot et al. 2023, doi:10.1016/j.media.2023.102789). Posteriors
are ``(channel, x, y, z)``, background first, and are changed in place: they are the largest arrays.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import exp

import numpy as np
import torch
from scipy.ndimage import label as label_components

from isdu_bids.segmentation.labels import mirrored, mirrored_channels

#: A structure is looked for where its posterior exceeds this.
PRESENT = 0.25
#: Without topological classes, smaller posteriors are dropped.
NEGLIGIBLE = 0.2
SMOOTHING_SIGMA_VOXELS = 0.5

_LEFT_CLASSES = ((2, 3, 4, 5), (7, 8), (10,), (11,), (12,), (13,), (17,), (18,), (26,), (28,))
#: Structures that are one piece each; CSF (24) may be many.
TOPOLOGICAL_CLASSES: tuple[tuple[int, ...], ...] = (
    *((14,), (15,), (16,)),
    *_LEFT_CLASSES,
    *(tuple(mirrored(label) for label in labels) for labels in _LEFT_CLASSES),
)


def averaged_with_mirrored(
    posteriors: torch.Tensor, of_mirrored: torch.Tensor, labels: Sequence[int]
) -> torch.Tensor:
    """Mean of posteriors and those of the mirrored image (axis 0), turned back: sides exchanged."""
    for channel, other in zip(posteriors, mirrored_channels(labels), strict=True):
        channel.add_(of_mirrored[other].flip(0)).div_(2)
    return posteriors


def smoothed(posteriors: torch.Tensor) -> torch.Tensor:
    """Blur every channel by a Gaussian of 0.5 voxels, cut off at one voxel, zero outside."""
    beside = exp(-1 / (2 * SMOOTHING_SIGMA_VOXELS**2))
    total = 1 + 2 * beside
    for channel in posteriors:
        for axis in range(3):
            _blur(channel, axis, 1 / total, beside / total)
    return posteriors


def _blur(volume: torch.Tensor, axis: int, centre: float, beside: float) -> None:
    """Weigh each voxel with its neighbours along an axis; convolutions of one channel are slow."""
    n, before = volume.shape[axis], volume.clone()
    volume.mul_(centre)
    volume.narrow(axis, 1, n - 1).add_(before.narrow(axis, 0, n - 1), alpha=beside)
    volume.narrow(axis, 0, n - 1).add_(before.narrow(axis, 1, n - 1), alpha=beside)


def cleaned(
    posteriors: torch.Tensor,
    labels: Sequence[int],
    inner: tuple[slice, slice, slice],
    *,
    topological: bool = True,
) -> torch.Tensor:
    """Keep one head and one piece of each structure, and let posteriors sum to one again.

    Parameters
    ----------
    posteriors, labels
        Of the padded image, and the label of each channel.
    inner
        The part that is not padding.
    topological
        Keep the largest component of each class of `TOPOLOGICAL_CLASSES`; otherwise drop
        posteriors below 0.2 and trust the network, as SynthSeg does in its robust variant.

    Returns
    -------
    torch.Tensor
        Posteriors of the inner part.
    """
    crop = (slice(None), *inner)
    if not topological:
        posteriors = posteriors[crop]
    head = largest_component(posteriors[1:].sum(0) > PRESENT)
    posteriors[1:] *= head
    if topological:
        for members in TOPOLOGICAL_CLASSES:
            channels = [c for c, label in enumerate(labels) if label in members]
            if not channels:
                continue
            piece = largest_component(_any(posteriors[c] > PRESENT for c in channels))
            for c in channels:
                posteriors[c] *= piece
        posteriors = posteriors[crop]
    else:
        for channel in posteriors[1:]:
            channel *= channel > NEGLIGIBLE
    total = posteriors.sum(0)
    nothing = total == 0
    posteriors[0, nothing] = 1
    total[nothing] = 1
    posteriors /= total
    return posteriors


def largest_component(mask: torch.Tensor) -> torch.Tensor:
    """Largest connected piece of a mask (voxels connect by their faces)."""
    pieces, count = label_components(mask.cpu().numpy())
    if count < 2:
        return mask
    sizes = np.bincount(pieces.ravel())
    return torch.from_numpy(pieces == sizes[1:].argmax() + 1).to(mask.device)


def _any(masks: Iterable[torch.Tensor]) -> torch.Tensor:
    first, *others = masks
    for mask in others:
        first |= mask
    return first
