"""SynthSeg's quality scores: a network predicts Dice scores from the labels, without the image.

Written from its published description (Billot et al. 2023, doi:10.1073/pnas.2216399120).
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from isdu_bids.physics.planes import in_slabs
from isdu_bids.segmentation.labels import SCORED, SYNTHSEG_LABELS

#: Edge of the box around the labels that the network sees (voxels of 1 mm).
EDGE_VOXELS = 224
#: Channels that do not count for the centre of that box. SynthSeg means background and CSF (label
#: 24), but compares channels: number 24 is a part of the cerebellum. Its scores come from there.
_NOT_CENTRED = (0, 24)
#: Number in `SCORED`, from 1; the others, fluid around the brain too, are background.
_GROUP_OF_CHANNEL = torch.tensor(
    [
        next((g for g, members in enumerate(SCORED.values(), 1) if label in members), 0)
        for label in SYNTHSEG_LABELS
    ],
    dtype=torch.uint8,
)


class ScoreNet(nn.Module):
    """Residual encoder from one-hot groups of labels to a score per group.

    Parameters
    ----------
    groups
        Groups of labels, background included.
    features
        Width of the finest level; each coarser one has twice as many.
    levels, kernel
        Depth, and edge of the convolutions.
    """

    def __init__(
        self,
        groups: int = len(SCORED) + 1,
        *,
        features: int = 24,
        levels: int = 4,
        kernel: int = 5,
    ) -> None:
        super().__init__()
        widths = [features * 2**level for level in range(levels)]
        self.down = nn.ModuleList(
            _Level(inputs, width, kernel)
            for inputs, width in zip([groups, *widths[:-1]], widths, strict=True)
        )
        self.final = nn.ModuleList(
            _convolution(inputs, groups, kernel) for inputs in (widths[-1], groups)
        )
        self.halo = kernel // 2  # of two convolutions, in voxels after pooling

    def forward(self, one_hot: torch.Tensor) -> torch.Tensor:
        """Scores ``(b, group)`` of groups ``(b, group, x, y, z)``, edges multiples of 2^levels."""
        x = one_hot
        for level in self.down:
            x = in_slabs(partial(_pooled, level, x), x.shape[2] // 2, self.halo)
        for convolution in self.final:
            x = F.relu(convolution(x))
        return x.mean((2, 3, 4))


class _Level(nn.Module):
    """Two convolutions beside a third one, added, and normalised."""

    def __init__(self, in_channels: int, channels: int, kernel: int) -> None:
        super().__init__()
        self.first = _convolution(in_channels, channels, kernel)
        self.second = _convolution(channels, channels, kernel)
        self.beside = _convolution(in_channels, channels, kernel)
        self.norm = nn.BatchNorm3d(channels, eps=1e-3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features of the same size."""
        deep = self.second(F.relu(self.first(x)))
        normalised: torch.Tensor = self.norm(F.relu(F.relu(self.beside(x)) + deep))
        return normalised


def predicted_scores(
    network: ScoreNet, channels: torch.Tensor, edge: int = EDGE_VOXELS
) -> dict[str, float]:
    """Dice scores that the network expects of a segmentation by SynthSeg 2.0.

    Parameters
    ----------
    network
        With SynthSeg's weights.
    channels
        Most likely channel of SynthSeg at each voxel ``(x, y, z)``, before any cleaning.
    edge
        Of the box that the network sees, in voxels.

    Returns
    -------
    dict
        Score from 0 to 1 by the names of `isdu_bids.segmentation.labels.SCORED`.
    """
    box = _GROUP_OF_CHANNEL.to(channels.device)[F.pad(channels, _box_widths(channels, edge))]
    one_hot = torch.stack([box == group for group in range(len(SCORED) + 1)])
    scores = network(one_hot[None])[0, 1:].clamp(0, 1)
    return dict(zip(SCORED, scores.tolist(), strict=True))


def _box_widths(channels: torch.Tensor, edge: int) -> list[int]:
    """How far to widen (or, if negative, narrow) each face, last axis first, to a centred box."""
    counted = ~torch.isin(channels, torch.tensor(_NOT_CENTRED, device=channels.device))
    widths = []
    for axis, n in reversed(list(enumerate(channels.shape))):
        hit = counted.sum([other for other in range(3) if other != axis]).nonzero()
        first, stop = (int(hit[0]), int(hit[-1]) + 1) if len(hit) else (0, min(n, edge))
        missing = edge - (stop - first)
        widths += [-(-missing // 2) - first, missing // 2 + stop - n]
    return widths


def _pooled(level: nn.Module, x: torch.Tensor, rows: slice) -> torch.Tensor:
    """Compute a level on the planes that become some planes after pooling."""
    return F.max_pool3d(level(x[:, :, 2 * rows.start : 2 * rows.stop].float()), 2)


def _convolution(in_channels: int, channels: int, kernel: int) -> nn.Conv3d:
    return nn.Conv3d(in_channels, channels, kernel, padding=kernel // 2)
