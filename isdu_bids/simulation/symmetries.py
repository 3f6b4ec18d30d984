"""Patches turned into other patches, exactly: axes are swapped and mirrored, and B0 with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import torch

from isdu_bids.physics.dipole import dipole_kernel
from isdu_bids.simulation.patches import Patch, Triple

#: Which old axis each new one is, and the new axes that are mirrored. The last axis stays the last:
#: patches, and the volumes of inference, have B0 near it.
Symmetry = tuple[tuple[int, int, int], tuple[int, ...]]
SYMMETRIES: Sequence[Symmetry] = tuple(
    (axes, tuple(axis for axis in range(3) if mirrored[axis]))
    for axes in ((0, 1, 2), (1, 0, 2))
    for mirrored in product((False, True), repeat=3)
)


def turned(patch: Patch, symmetry: Symmetry) -> Patch:
    """Apply a symmetry to all volumes of a patch, its voxel size, B0 and kernel.

    The dipole turns with the axes, so the patch's susceptibility explains its field as before.
    """
    axes, mirrored = symmetry

    def moved(volume: torch.Tensor) -> torch.Tensor:
        volume = volume.permute(0, *(1 + axis for axis in axes))
        return volume.flip([1 + axis for axis in mirrored]).contiguous()

    x, y, z = (patch.voxel_size_mm[axis] for axis in axes)
    voxel_size: Triple = (x, y, z)
    x, y, z = (
        -patch.b0_direction[old] if new in mirrored else patch.b0_direction[old]
        for new, old in enumerate(axes)
    )
    direction: Triple = (x, y, z)
    chi = moved(patch.chi_ppm)
    return replace(
        patch,
        field_ppm=moved(patch.field_ppm),
        mask=moved(patch.mask),
        chi_ppm=chi,
        kernel=dipole_kernel(chi.shape[1:], voxel_size, direction, device=chi.device),
        voxel_size_mm=voxel_size,
        b0_direction=direction,
        field_sd_ppm=None if patch.field_sd_ppm is None else moved(patch.field_sd_ppm),
    )
