"""Standard deviation of a susceptibility map: what noise and the choice of axes do to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

Inversion = Callable[..., torch.Tensor]

MEMBERS = 8


def standard_deviation(
    invert: Inversion,
    field_ppm: torch.Tensor,
    mask: torch.Tensor,
    *,
    voxel_size_mm: Sequence[float],
    b0_direction: Sequence[float],
    field_sd_ppm: torch.Tensor | None = None,
    members: int = MEMBERS,
    seed: int = 0,
) -> torch.Tensor:
    """Spread of the susceptibility over mirrored and noisier copies of the field.

    Each member mirrors the volume along another set of axes (the physics does not change, a
    trained network answers a little differently) and adds noise of the field's own standard
    deviation. This ranks voxels by how far they can be trusted; errors that all members share,
    such as a contrast that is too low everywhere, are not in it.

    Parameters
    ----------
    invert
        A method of `inversion.registry.INVERSION` with its parameters bound.
    field_ppm, mask, voxel_size_mm, b0_direction
        As for that method.
    field_sd_ppm
        Standard deviation of the field; without it only the mirroring counts.
    members
        Number of inversions.
    seed
        Of the noise.

    Returns
    -------
    torch.Tensor
        Standard deviation in ppm, zero outside the mask.
    """
    generator = torch.Generator().manual_seed(seed)
    maps = []
    for member in range(members):
        axes = [axis for axis in range(3) if member >> axis & 1]
        direction = [-b if axis in axes else b for axis, b in enumerate(b0_direction)]
        noisy = field_ppm
        if field_sd_ppm is not None:
            noise = torch.randn(field_ppm.shape, generator=generator).to(field_ppm)
            noisy = field_ppm + noise * field_sd_ppm
        chi = invert(
            noisy.flip(axes), mask.flip(axes), voxel_size_mm=voxel_size_mm, b0_direction=direction
        ).flip(axes)
        maps.append(chi[mask] - chi[mask].mean())  # the mean carries no meaning
    result = torch.zeros_like(field_ppm)
    result[mask] = torch.stack(maps).std(0)
    return result
