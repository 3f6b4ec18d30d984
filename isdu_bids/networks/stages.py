"""Denoisers in the form that inference runs: convolutions with folded batch norm, ReLU, skips."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Stage:
    """One stride-1 convolution and what follows it: ``act(weight * x + bias [+ skip])``.

    Attributes
    ----------
    weight, bias
        ``(outputs, inputs, size, size, size)`` with batch norm folded in, and ``(outputs,)``.
    relu
        Whether a ReLU follows.
    opens_skip, closes_skip
        Whether the input is kept for a later stage, and whether the kept one is added here.
    """

    weight: torch.Tensor
    bias: torch.Tensor
    relu: bool
    opens_skip: bool
    closes_skip: bool

    @property
    def reach(self) -> int:
        """Voxels to each side that the convolution sees."""
        return self.weight.shape[-1] // 2

    def of_constant(self, inputs: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """Return outputs before the ReLU, ``(outputs,)``, where all inputs are constant."""
        outputs = self.weight.sum((-3, -2, -1)) @ inputs + self.bias
        return outputs + skip if self.closes_skip else outputs


def folded(
    convolution: nn.Conv3d,
    norm: nn.BatchNorm3d | None = None,
    *,
    relu: bool = True,
    opens_skip: bool = False,
    closes_skip: bool = False,
) -> Stage:
    """Stage of a convolution and the batch norm behind it, in evaluation mode."""
    weight = convolution.weight.detach().double()
    bias = weight.new_zeros(len(weight))
    if convolution.bias is not None:
        bias = convolution.bias.detach().double()
    if norm is not None:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
        weight = weight * scale.reshape(-1, 1, 1, 1, 1)
        bias = (bias - norm.running_mean.double()) * scale + norm.bias.double()
    return Stage(weight.detach(), bias.detach(), relu, opens_skip, closes_skip)
