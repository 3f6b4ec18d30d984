"""Local field of a whole head at a given direction of B0, as background removal would leave it."""

from __future__ import annotations

from dataclasses import dataclass
from math import radians, tan

import torch

from isdu_bids.geometry import Triple, unit_vector
from isdu_bids.physics.dipole import dipole_kernel, forward_field
from isdu_bids.physics.padding import mask_box
from isdu_bids.simulation.field_errors import field_errors, random_mask
from isdu_bids.simulation.random_fields import uniform
from isdu_bids.simulation.sampling import partial_volume
from isdu_bids.simulation.susceptibility import brain_mask, draw_susceptibility

_MARGIN_VOXELS = 2


@dataclass(frozen=True)
class HeadScan:
    """Field and truth of one head; volumes are ``(x, y, z)``, zero outside the mask."""

    field_ppm: torch.Tensor
    chi_ppm: torch.Tensor
    mask: torch.Tensor
    voxel_size_mm: Triple
    b0_direction: Triple


def crop_to_brain(labels: torch.Tensor) -> torch.Tensor:
    """Box around the brain, a little wider."""
    return labels[mask_box(brain_mask(labels), (_MARGIN_VOXELS,) * 3)]


def draw_head(
    labels: torch.Tensor, voxel_size_mm: Triple, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Susceptibility (ppm) of a head inside a random mask, demeaned, and that mask (bool)."""
    mask = random_mask(brain_mask(labels), generator)
    chi = partial_volume(draw_susceptibility(labels, voxel_size_mm, generator), 0.1)
    return torch.where(mask, chi - chi[mask].mean(), 0.0), mask


def scan_head(
    chi_ppm: torch.Tensor,
    mask: torch.Tensor,
    voxel_size_mm: Triple,
    b0_direction: Triple,
    generator: torch.Generator,
    *,
    max_noise_ppm: float = 0.005,
    max_background_ppm: float = 0.004,
    max_structured_ppm: float = 0.0,
) -> HeadScan:
    """Measure a head: its field without wrap-around, and `field_errors`.

    Parameters
    ----------
    chi_ppm, mask
        From `draw_head`.
    voxel_size_mm, b0_direction
        The acquisition, in voxel axes.
    generator
        Source of every random number, on the device of the volumes.
    max_noise_ppm, max_background_ppm, max_structured_ppm
        Largest standard deviations of the errors.
    """
    field = forward_field(chi_ppm, voxel_size_mm, b0_direction)
    kernel = dipole_kernel(mask.shape, voxel_size_mm, b0_direction, device=mask.device)
    field = field + field_errors(
        chi_ppm,
        mask,
        kernel,
        voxel_size_mm,
        generator,
        max_noise_ppm=max_noise_ppm,
        max_background_ppm=max_background_ppm,
        max_structured_ppm=max_structured_ppm,
    )
    return HeadScan(field * mask, chi_ppm, mask, voxel_size_mm, b0_direction)


def tilted_b0(max_tilt_deg: float, generator: torch.Generator) -> Triple:
    """B0 turned about the first and the second axis by up to ``max_tilt_deg`` each."""
    x, y = (tan(radians(uniform(-max_tilt_deg, max_tilt_deg, generator))) for _ in range(2))
    return unit_vector((x, y, 1.0))
