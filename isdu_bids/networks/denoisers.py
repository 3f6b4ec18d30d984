"""Denoisers D_w of the unrolled networks: chi in, chi out, the same shape."""

from __future__ import annotations

import torch
from torch import nn


class ResidualBlock(nn.Module):
    """conv - norm - ReLU - dropout - conv - norm, plus the identity, ReLU."""

    def __init__(self, features: int, dropout: float) -> None:
        super().__init__()
        self.conv1 = _conv(features, features, 3)
        self.bn1 = nn.BatchNorm3d(features)
        self.drop = nn.Dropout3d(dropout)
        self.conv2 = _conv(features, features, 3)
        self.bn2 = nn.BatchNorm3d(features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(batch, features, x, y, z)`` to the same shape."""
        inner = self.drop(torch.relu(self.bn1(self.conv1(x))))
        return torch.relu(x + self.bn2(self.conv2(inner)))


class WideResNet(nn.Module):
    """3D wide residual network without bias, without a global residual.

    One 3^3 convolution, ``(depth - 2) // 2`` residual blocks, three 1^3 convolutions. It is fully
    convolutional; its receptive field reaches ``depth - 1`` voxels to each side.

    Parameters
    ----------
    depth
        10, 12, ... 18 as in the paper's Table 3; 18 has 447,232 parameters with 32 features.
    channels
        Channels of chi: 2 where the second is scratch space that survives between iterations.
    features
        Width of every hidden layer.
    dropout
        Probability with which whole feature maps are dropped in training.

    References
    ----------
    Vaddadi et al. 2025, NMR Biomed (ISDU-QSMNet), Tables 2 and 3.
    """

    def __init__(
        self, depth: int = 18, channels: int = 2, features: int = 32, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.receptive_voxels = depth - 1
        self.head = _conv(channels, features, 3)
        n_blocks = (depth - 2) // 2
        self.blocks = nn.Sequential(*(ResidualBlock(features, dropout) for _ in range(n_blocks)))
        self.tail1 = _conv(features, features, 1)
        self.tail2 = _conv(features, features, 1)
        self.tail3 = _conv(features, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(batch, channels, x, y, z)`` to the same shape."""
        x = self.blocks(torch.relu(self.head(x)))
        x = torch.relu(self.tail1(x))
        x = torch.relu(self.tail2(x))
        return self.tail3(x)


def _conv(inputs: int, outputs: int, size: int) -> nn.Conv3d:
    return nn.Conv3d(inputs, outputs, size, padding=size // 2, bias=False)
