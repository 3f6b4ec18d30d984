"""Simulated heads as they come out of field mapping and background removal.

What background removal leaves is neither noise nor the field of the brain's own sources: it depends
on the anatomy, on the mask and on the method. Networks learn it from whole heads that went through
the same functions as a scan does. Phase is not simulated: the total field gets the noise of a
multi-echo fit and a smooth remainder of the phase offset instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from isdu_bids.background.local_field import LocalField
from isdu_bids.background.registry import BACKGROUND
from isdu_bids.geometry import Triple
from isdu_bids.physics.dipole import forward_field
from isdu_bids.physics.padding import mask_box
from isdu_bids.simulation.random_fields import smooth_noise, uniform
from isdu_bids.simulation.sampling import nearest_labels, partial_volume
from isdu_bids.simulation.scan import head_susceptibility, shimmed, signal_maps
from isdu_bids.simulation.susceptibility import brain_mask, draw_susceptibility
from isdu_bids.simulation.whole_head import tilted_b0

#: Space around the head, in mm, so that air and scalp are there as sources.
_AROUND_BRAIN_MM = 24.0
_METHODS = ("jdf", "pdf", "lbv")


@dataclass(frozen=True)
class ProcessedHeadSettings:
    """Ranges of the randomisation.

    Attributes
    ----------
    voxel_size_mm
        Smallest and largest edge in the plane; slices are up to 1.5 times as thick.
    max_tilt_deg
        Of B0, about each of the two axes.
    noise_ppm
        Smallest and largest standard deviation of the field's noise in the middle of the brain.
    max_smooth_ppm
        Largest standard deviation of what the removal of the phase offset leaves.
    contrast
        Range of the factor by which the brain's susceptibility is scaled.
    """

    voxel_size_mm: tuple[float, float] = (1.4, 2.2)
    max_tilt_deg: float = 20.0
    noise_ppm: tuple[float, float] = (0.0003, 0.006)
    max_smooth_ppm: float = 0.003
    contrast: tuple[float, float] = (0.9, 2.0)


@dataclass(frozen=True)
class ProcessedHead:
    """Local field and truth; volumes are float32 ``(x, y, z)``, zero outside the mask.

    ``field_sd_ppm`` holds noise and the root mean square of what background removal did wrong.
    """

    field_ppm: torch.Tensor
    field_sd_ppm: torch.Tensor
    mask: torch.Tensor
    chi_ppm: torch.Tensor
    voxel_size_mm: Triple
    b0_direction: Triple


def process_head(
    head_labels: torch.Tensor, generator: torch.Generator, settings: ProcessedHeadSettings
) -> ProcessedHead:
    """Draw a head, its field and noise, and remove the background by one of several methods.

    Parameters
    ----------
    head_labels
        Integer labels ``(x, y, z)`` on a 1 mm grid whose last axis points to the vertex.
    generator
        Source of every random number.
    settings
        Ranges of the randomisation.
    """
    in_plane = uniform(*settings.voxel_size_mm, generator)
    voxel_size = (in_plane, in_plane, in_plane * uniform(1.0, 1.5, generator))
    b0 = tilted_b0(settings.max_tilt_deg, generator)
    labels = _placed(head_labels, voxel_size, generator)
    brain = brain_mask(labels)
    chi = draw_susceptibility(labels, voxel_size, generator) * uniform(
        *settings.contrast, generator
    )
    chi = partial_volume(torch.where(brain, chi - chi[brain].mean(), 0.0), 0.1)
    outside = partial_volume(head_susceptibility(labels) * ~brain, 0.25)
    own = forward_field(chi, voxel_size, b0)
    total = shimmed(own + forward_field(outside - outside[0, 0, 0], voxel_size, b0), brain)
    noise_sd = _noise_sd(labels, chi, voxel_size, generator, settings)
    noise = noise_sd * torch.randn(total.shape, generator=generator)
    smooth = smooth_noise(total.shape, voxel_size, uniform(30, 70, generator), generator)
    measured = total + noise + uniform(0, settings.max_smooth_ppm, generator) * smooth
    trusted = _eroded(brain) & (noise_sd < 20 * noise_sd[brain].median())
    available = {
        "field_ppm": measured,
        "field_sd_ppm": noise_sd,
        "mask": trusted,
        "voxel_size_mm": voxel_size,
        "b0_direction": b0,
    }
    method = BACKGROUND[_METHODS[int(uniform(0, len(_METHODS), generator))]]
    local: LocalField = method.run(available)
    mask = local.mask
    wrong = (local.field_ppm - own - noise)[mask]
    field_sd = (noise_sd**2 + wrong.var() * uniform(0.6, 1.6, generator)).sqrt()
    chi = torch.where(mask, chi - chi[mask].mean(), 0.0)
    box = mask_box(mask)
    volumes = (local.field_ppm * mask, field_sd * mask, mask.float(), chi)
    field, sd, inside, truth = (volume[box].contiguous() for volume in volumes)
    return ProcessedHead(field, sd, inside, truth, voxel_size, b0)


def _placed(head: torch.Tensor, voxel_size_mm: Triple, generator: torch.Generator) -> torch.Tensor:
    """Labels on a grid of that voxel size, around the brain, mirrored and warped at random."""
    box = mask_box(brain_mask(head))
    centre = torch.tensor([(part.start + part.stop - 1) / 2 for part in box])
    extent = [part.stop - part.start + 2 * _AROUND_BRAIN_MM for part in box]
    axes = [
        (torch.arange(round(length / size)) - (round(length / size) - 1) / 2) * size
        for length, size in zip(extent, voxel_size_mm, strict=True)
    ]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    warp = [smooth_noise(points.shape[:3], voxel_size_mm, 30.0, generator) for _ in range(3)]
    if uniform(0, 1, generator) < 0.5:
        points = points * torch.tensor([-1.0, 1.0, 1.0])
    points = points * uniform(0.92, 1.08, generator) + 2.0 * torch.stack(warp, dim=-1) + centre
    return nearest_labels(head, points)


def _noise_sd(
    labels: torch.Tensor,
    chi_ppm: torch.Tensor,
    voxel_size_mm: Sequence[float],
    generator: torch.Generator,
    settings: ProcessedHeadSettings,
) -> torch.Tensor:
    """Noise of a field fitted to phase: it grows where the signal is weak or decays fast."""
    density, r2star = signal_maps(labels, chi_ppm)
    receive = torch.exp(0.3 * smooth_noise(labels.shape, voxel_size_mm, 90.0, generator))
    echo_time_s = uniform(0.01, 0.03, generator)
    signal = density * receive * torch.exp(-r2star * echo_time_s)
    middle = signal[brain_mask(labels)].median()
    low, high = settings.noise_ppm
    level = low * (high / low) ** uniform(0, 1, generator)
    return level * middle / signal.clamp(min=0.02 * middle)


def _eroded(mask: torch.Tensor) -> torch.Tensor:
    return -F.max_pool3d(-mask.float()[None, None], 3, 1, 1)[0, 0] > 0.5
