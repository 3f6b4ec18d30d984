"""Standard deviation of a susceptibility map: what noise and the choice of axes do to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from isdu_bids.inversion.result import Inverted
from isdu_bids.networks.inference import Unrolled

Inversion = Callable[[Mapping[str, Any]], torch.Tensor | Unrolled | Inverted]

MEMBERS = 8
#: The inputs of which one is the field to be inverted.
_FIELDS = ("field_ppm", "total_field_ppm")


def standard_deviation(
    invert: Inversion,
    inputs: Mapping[str, Any],
    *,
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
        A method of `inversion.registry.INVERSION`, as a function of its inputs.
    inputs
        What it takes, by the names of that registry: tensors ``(x, y, z)``, ``b0_direction``, ...
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
    mask = inputs["mask"]
    maps = []
    for member in range(members):
        axes = [axis for axis in range(3) if member >> axis & 1]
        copy = dict(inputs)
        copy["b0_direction"] = [
            -b if axis in axes else b for axis, b in enumerate(inputs["b0_direction"])
        ]
        if field_sd_ppm is not None:
            noise = torch.randn(mask.shape, generator=generator).to(field_sd_ppm) * field_sd_ppm
            copy |= {name: inputs[name] + noise for name in _FIELDS if name in inputs}
        flipped = {k: v.flip(axes) for k, v in copy.items() if isinstance(v, torch.Tensor)}
        chi = Inverted.of(invert({**copy, **flipped})).chi_ppm.flip(axes)
        maps.append(chi[mask] - chi[mask].mean())  # the mean carries no meaning
    result = torch.zeros(mask.shape).to(maps[0])
    result[mask] = torch.stack(maps).std(0)
    return result
