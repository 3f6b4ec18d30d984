"""SynthSeg's networks: a U-Net, and the chain of three of its robust variant.

Written from their published description (Billot et al. 2023, doi:10.1016/j.media.2023.102789 and
doi:10.1073/pnas.2216399120).
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from isdu_bids.physics.planes import in_slabs, on_planes, split_planes


class UNet(nn.Module):
    """U-Net with nearest upsampling; skips are taken before normalisation and come first.

    Parameters
    ----------
    in_channels, out_channels
        Of the image and of the logits.
    features
        Width of the finest level; each coarser one has twice as many.
    levels, kernel
        Depth, and edge of the convolutions.
    unskipped
        So many of the finest levels have no skip connection.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        features: int = 24,
        levels: int = 5,
        kernel: int = 3,
        unskipped: int = 0,
    ) -> None:
        super().__init__()
        widths = [features * 2**level for level in range(levels)]
        inputs_up = [
            widths[level + 1] + (widths[level] if level >= unskipped else 0)
            for level in range(levels - 1)
        ]
        self.unskipped = unskipped
        self.halo = 2 * (kernel // 2)
        self.down = nn.ModuleList(
            map(_block, [in_channels, *widths[:-1]], widths, [kernel] * levels)
        )
        self.down_norms = nn.ModuleList(map(_norm, widths))
        self.up = nn.ModuleList(map(_block, inputs_up[::-1], widths[-2::-1], [kernel] * levels))
        self.up_norms = nn.ModuleList(map(_norm, widths[-2::-1]))
        self.likelihood = nn.Conv3d(features, out_channels, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits of an image ``(b, c, x, y, z)`` whose edges are multiples of 2^(levels - 1)."""
        x = image
        skips: list[torch.Tensor | None] = []
        *above, (bottom, bottom_norm) = zip(self.down, self.down_norms, strict=True)
        for level, (block, norm) in enumerate(above):
            features = in_slabs(partial(on_planes, block, x), x.shape[2], self.halo)
            skips.append(features if level >= self.unskipped else None)
            x = torch.cat([F.max_pool3d(norm(p), 2) for p in split_planes(features)], dim=2)
        x = bottom_norm(bottom(x))
        for block, norm in zip(self.up, self.up_norms, strict=True):
            skip = skips.pop()
            stage = nn.Sequential(block, norm, nn.Identity() if skips else self.likelihood)
            x = in_slabs(partial(_upwards, stage, x, skip), 2 * x.shape[2], self.halo)
        return x


def _block(in_channels: int, channels: int, kernel: int) -> nn.Sequential:
    """Two convolutions, each with ELU."""
    return nn.Sequential(
        nn.Conv3d(in_channels, channels, kernel, padding=kernel // 2),
        nn.ELU(inplace=True),
        nn.Conv3d(channels, channels, kernel, padding=kernel // 2),
        nn.ELU(inplace=True),
    )


def _norm(channels: int) -> nn.BatchNorm3d:
    return nn.BatchNorm3d(channels, eps=1e-3)


def _upwards(
    stage: nn.Module, coarse: torch.Tensor, skip: torch.Tensor | None, rows: slice
) -> torch.Tensor:
    """Join the skip and the upsampled coarser level, on some rows of the finer one."""
    fine = F.interpolate(coarse[:, :, rows.start // 2 : rows.stop // 2], scale_factor=2.0)
    return stage(fine if skip is None else torch.cat([skip[:, :, rows], fine], dim=1))


class SynthSeg(nn.Module):
    """A segmentation network and the labels of its channels."""

    def __init__(self, unet: UNet, labels: tuple[int, ...]) -> None:
        super().__init__()
        self.unet = unet
        self.labels = labels

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits ``(b, label, x, y, z)`` of an image ``(b, 1, x, y, z)``."""
        return self.unet(image)


class RobustSynthSeg(SynthSeg):
    """Coarse groups of tissue, denoised, guide a second U-Net.

    Parameters
    ----------
    groups
        Image to groups of tissue.
    denoiser
        Groups to more plausible groups.
    unet, labels
        Image and groups to labels.
    """

    def __init__(self, groups: UNet, denoiser: UNet, unet: UNet, labels: tuple[int, ...]) -> None:
        super().__init__(unet, labels)
        self.groups = groups
        self.denoiser = denoiser

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits ``(b, label, x, y, z)`` of an image ``(b, 1, x, y, z)``."""
        groups = _one_hot(self.denoiser(_one_hot(self.groups(image))))
        return self.unet(torch.cat([image, groups], dim=1))


def _one_hot(logits: torch.Tensor) -> torch.Tensor:
    """One in the channel of the largest value, zero in the others."""
    return torch.zeros_like(logits).scatter_(1, logits.argmax(1, keepdim=True), 1)
