"""Properties that every operator and method is tested for."""

from __future__ import annotations

from collections.abc import Callable

import torch

Operator = Callable[[torch.Tensor], torch.Tensor]


def check_linear(operator: Operator, a: torch.Tensor, b: torch.Tensor, tolerance: float) -> None:
    """``f(2 a - 3 b) = 2 f(a) - 3 f(b)`` relative to the size of the right-hand side."""
    combined = operator(2 * a - 3 * b)
    separate = 2 * operator(a) - 3 * operator(b)
    assert relative_difference(combined, separate) <= tolerance


def check_adjoint(
    forward: Operator, adjoint: Operator, x: torch.Tensor, y: torch.Tensor, tolerance: float
) -> None:
    """``<A x, y> = <x, A' y>`` relative to the size of the vectors, and shapes that fit."""
    image, back = forward(x), adjoint(y)
    assert (image.shape, back.shape) == (y.shape, x.shape)
    left, right = torch.sum(image * y), torch.sum(x * back)
    assert abs(left - right) / (image.norm() * y.norm()) <= tolerance


def relative_difference(a: torch.Tensor, b: torch.Tensor) -> float:
    """Euclidean distance relative to the second."""
    return float((a - b).norm() / b.norm())


def ball(shape: tuple[int, int, int], radius: float) -> torch.Tensor:
    """Voxels within ``radius`` voxels of the middle."""
    axes = [torch.arange(n) - (n - 1) / 2 for n in shape]
    x, y, z = torch.meshgrid(*axes, indexing="ij")
    return x**2 + y**2 + z**2 <= radius**2


def with_statistics(network: torch.nn.Module) -> torch.nn.Module:
    """Give batch norms running statistics and weights of a trained network; evaluation mode."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            for tensor, low, high in (
                (module.running_mean, -0.3, 0.3),
                (module.running_var, 0.5, 2.0),
                (module.weight.data, 0.5, 1.5),
                (module.bias.data, -0.3, 0.3),
            ):
                tensor.uniform_(low, high)
    return network.eval()
