"""What denoisers of several kinds are built from."""

from __future__ import annotations

import torch
from torch import nn

from isdu_bids.networks.stages import Stage, folded


class ResidualBlock(nn.Module):
    """conv - norm - ReLU - dropout - conv - norm, plus the identity, ReLU."""

    def __init__(self, features: int, dropout: float) -> None:
        super().__init__()
        self.conv1 = conv(features, features, 3)
        self.bn1 = nn.BatchNorm3d(features)
        self.drop = nn.Dropout3d(dropout)
        self.conv2 = conv(features, features, 3)
        self.bn2 = nn.BatchNorm3d(features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(batch, features, x, y, z)`` to the same shape."""
        inner = self.drop(torch.relu(self.bn1(self.conv1(x))))
        return torch.relu(x + self.bn2(self.conv2(inner)))


def conv(inputs: int, outputs: int, size: int) -> nn.Conv3d:
    """Convolution without bias that keeps the shape."""
    return nn.Conv3d(inputs, outputs, size, padding=size // 2, bias=False)


def block_stages(blocks: nn.Sequential) -> list[Stage]:
    """Inference form of residual blocks, batch norm folded."""
    stages = []
    for block in blocks:
        assert isinstance(block, ResidualBlock)
        stages.append(folded(block.conv1, block.bn1, opens_skip=True))
        stages.append(folded(block.conv2, block.bn2, closes_skip=True))
    return stages
