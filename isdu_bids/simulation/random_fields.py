"""Smooth random fields, and the sheets and tubes that their level sets draw."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from math import pi

import torch
import torch.nn.functional as F


def uniform(low: float, high: float, generator: torch.Generator) -> float:
    """One number between ``low`` and ``high``."""
    return low + (high - low) * float(torch.rand((), generator=generator, device=generator.device))


def happens(fraction: float, generator: torch.Generator) -> bool:
    """Whether something rare happens; what is switched off (0) draws no random number."""
    return fraction > 0 and uniform(0, 1, generator) < fraction


def derived_generator(*parts: object, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a generator whose seed follows from all of ``parts``, unlike ``seed + i`` uniquely.

    Examples
    --------
    >>> first, again = derived_generator(0, "scan", 3), derived_generator(0, "scan", 3)
    >>> first.initial_seed() == again.initial_seed() != derived_generator(1).initial_seed()
    True
    """
    digest = hashlib.sha256(repr(parts).encode()).hexdigest()
    return torch.Generator(device).manual_seed(int(digest[:15], 16))


def smooth_noise(
    shape: Sequence[int],
    voxel_size_mm: Sequence[float],
    length_mm: float,
    generator: torch.Generator,
) -> torch.Tensor:
    """Noise of mean 0 and standard deviation 1 (in expectation) that varies over ``length_mm``.

    White noise on a grid of that spacing, interpolated linearly and rescaled: linear interpolation
    of independent samples lowers the variance to (2/3)^3 on average.
    """
    coarse = [
        max(2, round(n * size / length_mm) + 1)
        for n, size in zip(shape, voxel_size_mm, strict=True)
    ]
    if all(c >= n for c, n in zip(coarse, shape, strict=True)):
        return torch.randn(tuple(shape), generator=generator, device=generator.device)
    noise = torch.randn((1, 1, *coarse), generator=generator, device=generator.device)
    fine = F.interpolate(noise, size=tuple(shape), mode="trilinear", align_corners=True)[0, 0]
    return fine * 1.5**1.5


def smooth_field(
    shape: Sequence[int],
    voxel_size_mm: Sequence[float],
    length_mm: float,
    generator: torch.Generator,
) -> torch.Tensor:
    """Like `smooth_noise`, but without kinks: for phases and gains of coils.

    A random sum of cosines whose half waves are ``length_mm`` and longer.
    """
    coefficients_shape, waves = [], []
    for n, size in zip(shape, voxel_size_mm, strict=True):
        count = max(2, round(n * size / length_mm) + 1)
        position = (torch.arange(n, device=generator.device) + 0.5) / n
        wave = torch.cos(pi * torch.arange(count, device=generator.device)[:, None] * position)
        coefficients_shape.append(count)
        waves.append(wave / wave.square().mean(1).sum().sqrt())
    coefficients = torch.randn(coefficients_shape, generator=generator, device=generator.device)
    return torch.einsum("abc,ax,by,cz->xyz", coefficients, *waves)


def multiscale_texture(
    shape: Sequence[int],
    voxel_size_mm: Sequence[float],
    generator: torch.Generator,
    lengths_mm: Sequence[float] = (1.0, 2.0, 4.0, 8.0, 16.0),
) -> torch.Tensor:
    """Sum of smooth noise at several lengths with random weights, standard deviation about 1."""
    weights = torch.rand(len(lengths_mm), generator=generator, device=generator.device) + 0.1
    weights = weights / weights.norm()
    layers = [smooth_noise(shape, voxel_size_mm, length, generator) for length in lengths_mm]
    return torch.einsum("l,lxyz->xyz", weights, torch.stack(layers))


def sheets(
    shape: Sequence[int],
    voxel_size_mm: Sequence[float],
    length_mm: float,
    width: float,
    generator: torch.Generator,
) -> torch.Tensor:
    """Curved sheets, 0 to 1: where one smooth field passes through zero.

    ``width`` is the thickness as a fraction of ``length_mm``.
    """
    level = smooth_noise(shape, voxel_size_mm, length_mm, generator)
    return torch.exp(-(level**2) / (2 * width**2))


def tubes(
    shape: Sequence[int],
    voxel_size_mm: Sequence[float],
    length_mm: float,
    width: float,
    generator: torch.Generator,
) -> torch.Tensor:
    """Tortuous tubes of varying calibre, 0 to 1: where two smooth fields pass through zero at once.

    This draws vessel-like curves without any loop over vessels. ``width`` is the radius as a
    fraction of ``length_mm``.
    """
    first = smooth_noise(shape, voxel_size_mm, length_mm, generator)
    second = smooth_noise(shape, voxel_size_mm, length_mm, generator)
    return torch.exp(-(first**2 + second**2) / (2 * width**2))


def blob(
    shape: Sequence[int],
    voxel_size_mm: Sequence[float],
    centre: torch.Tensor,
    radius_mm: float,
    generator: torch.Generator,
) -> torch.Tensor:
    """Ellipsoid with an uneven surface, 1 inside and 0 outside.

    ``centre`` is in voxels; the half axes vary by up to 40 % around ``radius_mm``.
    """
    device = generator.device
    grid = torch.meshgrid(*(torch.arange(n, device=device) for n in shape), indexing="ij")
    half_axes = radius_mm * (0.6 + 0.8 * torch.rand(3, generator=generator, device=device))
    squared = sum(
        ((axis - c) * size / half) ** 2
        for axis, c, size, half in zip(grid, centre, voxel_size_mm, half_axes, strict=True)
    )
    surface = 0.25 * smooth_noise(shape, voxel_size_mm, max(2.0, radius_mm), generator)
    return (torch.sqrt(torch.as_tensor(squared)) + surface < 1).float()
