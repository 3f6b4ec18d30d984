"""Denoisers D_w of the unrolled networks: chi in, chi out, the same shape."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import partial
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from isdu_bids.errors import UsageError
from isdu_bids.networks.blocks import ResidualBlock, block_stages, conv
from isdu_bids.networks.multiscale import MultiScale
from isdu_bids.networks.stages import Stage, folded


class WideResNet(nn.Module):
    """3D wide residual network without bias, without a global residual.

    One 3^3 convolution, ``(depth - 2) // 2`` residual blocks, three 1^3 convolutions. It is fully
    convolutional; its receptive field reaches ``depth - 1`` voxels to each side.

    Parameters
    ----------
    channels
        Channels of chi: 2 where the second is scratch space that survives between iterations.
    inputs
        Channels of the input; by default those of chi.
    depth
        10, 12, ... 18 as in the paper's Table 3; 18 has 447,232 parameters with 32 features.
    features
        Width of every hidden layer.
    dropout
        Probability with which whole feature maps are dropped in training.

    References
    ----------
    Vaddadi et al. 2025, NMR Biomed (ISDU-QSMNet), Tables 2 and 3.
    """

    def __init__(
        self,
        channels: int = 2,
        inputs: int | None = None,
        depth: int = 18,
        features: int = 32,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.head = conv(inputs or channels, features, 3)
        n_blocks = (depth - 2) // 2
        self.blocks = nn.Sequential(*(ResidualBlock(features, dropout) for _ in range(n_blocks)))
        self.tail1 = conv(features, features, 1)
        self.tail2 = conv(features, features, 1)
        self.tail3 = conv(features, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(batch, inputs, x, y, z)`` to ``(batch, channels, x, y, z)``."""
        x = self.blocks(torch.relu(self.head(x)))
        x = torch.relu(self.tail1(x))
        x = torch.relu(self.tail2(x))
        return self.tail3(x)

    def stages(self) -> list[Stage]:
        """Inference form, batch norm folded."""
        tail = folded(self.tail1), folded(self.tail2), folded(self.tail3, relu=False)
        return [folded(self.head), *block_stages(self.blocks), *tail]


class SimpleCNN(nn.Module):
    """Five 3^3 convolutions with batch norm and a global residual (the paper's Table 2)."""

    def __init__(self, channels: int = 2, features: int = 64) -> None:
        super().__init__()
        widths = [channels, features, features, features, features, channels]
        self.convolutions = nn.ModuleList(
            nn.Conv3d(i, o, 3, padding=1) for i, o in pairwise(widths)
        )
        self.norms = nn.ModuleList(nn.BatchNorm3d(width) for width in widths[1:])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(batch, channels, x, y, z)`` to the same shape."""
        inner = x
        for i, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            inner = norm(convolution(inner))
            if i < len(self.norms) - 1:
                inner = torch.relu(inner)
        return x + inner

    def stages(self) -> list[Stage]:
        """Inference form, batch norm folded."""
        stages = []
        last = len(self.norms) - 1
        for i, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            assert isinstance(convolution, nn.Conv3d)
            assert isinstance(norm, nn.BatchNorm3d)
            stages.append(
                folded(convolution, norm, relu=i < last, opens_skip=i == 0, closes_skip=i == last)
            )
        return stages


class UNet(nn.Module):
    """Five-level 3D U-Net, two convolutions per level, max pooling, transposed convolutions.

    Volumes are zero-padded to multiples of 16 inside.

    Parameters
    ----------
    channels
        Of chi.
    features
        Width of the first level, doubled at each of the next.
    kernel_size
        Edge of every convolution.
    slope
        Of the leaky ReLU; 0 is a ReLU.

    References
    ----------
    Table 2 of the ISDU-QSMNet paper: "mini" as in DeepQSM (doi:10.1016/j.neuroimage.2019.03.060),
    "heavy" as in QSMnet (doi:10.1016/j.neuroimage.2018.06.030).
    """

    def __init__(
        self, channels: int = 2, features: int = 16, kernel_size: int = 3, slope: float = 0.0
    ) -> None:
        super().__init__()
        widths = [features * 2**level for level in range(5)]
        self.down = nn.ModuleList(
            _double(i, o, kernel_size, slope)
            for i, o in zip([channels, *widths[:-1]], widths, strict=True)
        )
        self.up = nn.ModuleList(nn.ConvTranspose3d(2 * w, w, 2, stride=2) for w in widths[-2::-1])
        self.join = nn.ModuleList(_double(2 * w, w, kernel_size, slope) for w in widths[-2::-1])
        self.tail = nn.Conv3d(features, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(batch, channels, x, y, z)`` to the same shape."""
        shape = x.shape[-3:]
        short = [-n % 16 for n in shape]
        x = F.pad(x, (0, short[2], 0, short[1], 0, short[0]))
        skips = []
        for level, double in enumerate(self.down):
            x = double(F.max_pool3d(x, 2) if level else x)
            skips.append(x)
        for up, join, skip in zip(self.up, self.join, skips[-2::-1], strict=True):
            x = join(torch.cat([skip, up(x)], dim=1))
        return self.tail(x)[..., : shape[0], : shape[1], : shape[2]]


DENOISERS: Mapping[str, Any] = {
    "wideresnet": WideResNet,
    "simple": SimpleCNN,
    "multiscale": MultiScale,
    "unet-mini": partial(UNet, features=16, kernel_size=3),
    "unet-heavy": partial(UNet, features=32, kernel_size=5, slope=0.1),
}


def build_denoiser(kind: str, channels: int, **options: Any) -> nn.Module:
    """Denoiser by name.

    Raises
    ------
    UsageError
        For an unknown name, or an option that this kind does not have.
    """
    if kind not in DENOISERS:
        raise UsageError(f"denoiser {kind!r} is unknown; known are {', '.join(DENOISERS)}")
    known = inspect.signature(DENOISERS[kind]).parameters
    if unknown := [name for name in options if name not in known]:
        raise UsageError(f"denoiser {kind!r} has no option {unknown[0]!r}")
    return DENOISERS[kind](channels, **options)


def _double(inputs: int, outputs: int, size: int, slope: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i in (inputs, outputs):
        layers += [
            nn.Conv3d(i, outputs, size, padding=size // 2),
            nn.BatchNorm3d(outputs),
            nn.LeakyReLU(slope),
        ]
    return nn.Sequential(*layers)
