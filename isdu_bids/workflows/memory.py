"""How much memory each step needs: Nipype books it before it starts a step."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

_GIGABYTE = 1e9
_IMPORTS_GB = 0.4  # torch, numba and Nipype in a worker
_REGISTRATION_GB = 2.0  # on the 1 mm grid of the template; 1.8 GB measured
_SEGMENTATION_GB = 4.0  # on a 1 mm grid whatever the scan's; SynthSeg with mirroring needs more


@dataclass(frozen=True)
class Memory:
    """Peak memory (GB) of the steps of one scan."""

    load_gb: float
    field_gb: float
    background_gb: float
    inversion_gb: float
    segmentation_gb: float
    template_gb: float


def estimate_memory(shape: tuple[int, int, int], n_echoes: int) -> Memory:
    """Estimate from the matrix, generously: counted arrays per voxel, not measured peaks."""
    voxels = prod(shape) / _GIGABYTE

    def step(bytes_per_voxel: float) -> float:
        return _IMPORTS_GB + bytes_per_voxel * voxels

    return Memory(
        load_gb=step(4 * 6 * n_echoes),
        field_gb=step(4 * (12 * n_echoes + 30)),
        background_gb=step(4 * 60),
        inversion_gb=step(4 * 200),
        segmentation_gb=_SEGMENTATION_GB + step(4 * 10),
        template_gb=_REGISTRATION_GB + step(4 * (n_echoes + 10)),
    )
