"""Training patches: local field, mask and susceptibility of a random piece of a random head.

A patch is drawn straight from the label map at a random position, orientation, scale, voxel size
and direction of B0. Its field is periodic on the patch, so that the dipole of the patch explains
the field exactly: fields cut out of a larger volume contradict the data-consistency step (47
against 42 % NRMSE in a trial). A fraction of the patches is cut out of a larger one all the same:
it teaches the network to bear fields of sources that it cannot see.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import acos, cos, radians, sin

import torch
import torch.nn.functional as F

from isdu_bids.errors import DataError
from isdu_bids.physics.dipole import convolve, dipole_kernel
from isdu_bids.simulation.random_fields import multiscale_texture, smooth_noise, uniform
from isdu_bids.simulation.sampling import nearest_labels, partial_volume
from isdu_bids.simulation.susceptibility import brain_mask, draw_susceptibility

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class PatchSettings:
    """Ranges of the randomisation.

    Attributes
    ----------
    size
        Edge length of a patch in voxels.
    voxel_size_mm
        Smallest and largest voxel edge; half of the patches are 1 mm isotropic.
    max_rotation_deg, max_scale
        Of the anatomy.
    max_noise_ppm
        Largest standard deviation of the field's noise.
    max_background_ppm
        Largest standard deviation of the residual background field.
    cut_fraction, context_voxels
        How many patches are cut out of a larger one, and how much wider that is on each side.
    max_structured_ppm
        Largest standard deviation of spatially correlated errors that no susceptibility explains:
        anisotropy, motion, what phase processing leaves.
    """

    size: int = 48
    voxel_size_mm: tuple[float, float] = (0.6, 2.5)
    max_rotation_deg: float = 15.0
    max_scale: float = 0.12
    max_noise_ppm: float = 0.005
    max_background_ppm: float = 0.004
    max_structured_ppm: float = 0.0
    cut_fraction: float = 0.0
    context_voxels: int = 12


@dataclass(frozen=True)
class Patch:
    """One training sample; volumes are float32 ``(1, x, y, z)``."""

    field_ppm: torch.Tensor
    mask: torch.Tensor
    chi_ppm: torch.Tensor
    kernel: torch.Tensor
    voxel_size_mm: Triple
    b0_direction: Triple


def draw_patch(
    head_labels: torch.Tensor, generator: torch.Generator, settings: PatchSettings
) -> Patch:
    """Draw one patch from a head.

    Parameters
    ----------
    head_labels
        Integer labels ``(x, y, z)`` on a 1 mm grid whose last axis points to the vertex.
    generator
        Source of every random number; its device is where the work is done.
    settings
        Ranges of the randomisation.
    """
    context = settings.context_voxels if uniform(0, 1, generator) < settings.cut_fraction else 0
    shape = (settings.size + 2 * context,) * 3
    voxel_size = _random_voxel_size(settings, generator)
    direction = random_b0_direction(generator)
    labels = _sample_labels(head_labels, shape, voxel_size, settings, generator)
    brain = brain_mask(labels)
    mask = _random_mask(brain, generator)
    chi = draw_susceptibility(labels, voxel_size, generator) * _contrast(generator)
    chi = partial_volume(chi, uniform(0.0, 0.2, generator)) * brain
    kernel = dipole_kernel(shape, voxel_size, direction, device=generator.device)
    # sources between the eroded mask and the brain's edge: background removal takes most of them
    if uniform(0, 1, generator) < 0.7:
        chi = chi * mask
    if uniform(0, 1, generator) < 0.7 and mask.any():
        chi = (chi - chi[mask].mean()) * (chi != 0)
    field = convolve(chi, kernel) + _corruption(mask, kernel, voxel_size, settings, generator)
    if context:
        centre = (slice(context, -context),) * 3
        field, mask, chi = field[centre], mask[centre], chi[centre]
        kernel = dipole_kernel(mask.shape, voxel_size, direction, device=generator.device)
    return Patch(
        (field * mask)[None], mask.float()[None], (chi * mask)[None], kernel, voxel_size, direction
    )


def random_b0_direction(generator: torch.Generator) -> Triple:
    """Half within 15 degrees of the last axis, a third up to 45 degrees, the rest anywhere."""
    draw = uniform(0, 1, generator)
    if draw < 0.5:
        tilt = radians(uniform(0, 15, generator))
    elif draw < 0.83:
        tilt = radians(uniform(15, 45, generator))
    else:
        tilt = acos(uniform(0, 1, generator))
    azimuth = radians(uniform(0, 360, generator))
    return (sin(tilt) * cos(azimuth), sin(tilt) * sin(azimuth), cos(tilt))


def _random_voxel_size(settings: PatchSettings, generator: torch.Generator) -> Triple:
    if uniform(0, 1, generator) < 0.5:
        return (1.0, 1.0, 1.0)
    low, high = settings.voxel_size_mm
    in_plane = low * (high / low) ** uniform(0, 1, generator)
    slices = min(high, in_plane * uniform(1, 3, generator))
    return (in_plane, in_plane, slices)


def _sample_labels(
    head: torch.Tensor,
    shape: Sequence[int],
    voxel_size_mm: Triple,
    settings: PatchSettings,
    generator: torch.Generator,
) -> torch.Tensor:
    """Nearest labels on a rotated, scaled, warped grid around a random brain voxel."""
    device = generator.device
    centre = _random_brain_voxel(head, generator).float()
    angles = [
        radians(uniform(-settings.max_rotation_deg, settings.max_rotation_deg, generator))
        for _ in range(3)
    ]
    scale = 1 + uniform(-settings.max_scale, settings.max_scale, generator)
    axes = [
        (torch.arange(n, device=device) - (n - 1) / 2) * size
        for n, size in zip(shape, voxel_size_mm, strict=True)
    ]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    if uniform(0, 1, generator) < 0.5:
        points = points * torch.tensor([-1.0, 1.0, 1.0], device=device)
    warp = [smooth_noise(shape, voxel_size_mm, 25.0, generator) for _ in range(3)]
    points = points + 2.0 * torch.stack(warp, dim=-1)
    points = points @ _rotation(angles).to(device).T * scale + centre
    return nearest_labels(head, points)


def _random_brain_voxel(head: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    size = torch.tensor(head.shape, device=generator.device)
    for _ in range(1000):
        unit = torch.rand(3, generator=generator, device=generator.device)
        voxel = (unit * size).long()
        if brain_mask(head[tuple(voxel)]):
            return voxel
    raise DataError("the label map holds hardly any brain labels (FreeSurfer numbers are expected)")


def _rotation(angles_rad: Sequence[float]) -> torch.Tensor:
    matrix = torch.eye(3)
    for axis, angle in enumerate(angles_rad):
        first, second = [a for a in range(3) if a != axis]
        turn = torch.eye(3)
        turn[first, first] = turn[second, second] = cos(angle)
        turn[first, second], turn[second, first] = -sin(angle), sin(angle)
        matrix = matrix @ turn
    return matrix


def _random_mask(brain: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Brain eroded by 0 to 3 voxels, now and then with holes as unreliable phase leaves them."""
    mask = brain.float()[None, None]
    mask = -F.max_pool3d(-F.max_pool3d(mask, 3, 1, 1), 3, 1, 1)
    for _ in range(int(uniform(0, 4, generator))):
        mask = -F.max_pool3d(-mask, 3, 1, 1)
    keep = mask[0, 0] > 0.5
    if uniform(0, 1, generator) < 0.15:
        holes = smooth_noise(brain.shape, (1.0, 1.0, 1.0), 6.0, generator) > 2.2
        keep = keep & ~holes
    return keep


def _contrast(generator: torch.Generator) -> float:
    """Overall strength, with either sign, so that the network stays close to linear."""
    sign = -1.0 if uniform(0, 1, generator) < 0.25 else 1.0
    return sign * uniform(0.7, 1.4, generator)


def _corruption(
    mask: torch.Tensor,
    kernel: torch.Tensor,
    voxel_size_mm: Triple,
    settings: PatchSettings,
    generator: torch.Generator,
) -> torch.Tensor:
    """Noise that follows a smoothly varying magnitude, and what background removal leaves."""
    shape, device = mask.shape, generator.device
    noise = torch.randn(shape, generator=generator, device=device)
    shading = torch.exp(0.4 * smooth_noise(shape, voxel_size_mm, 30.0, generator))
    corruption = noise * shading * uniform(0, settings.max_noise_ppm, generator)
    if uniform(0, 1, generator) < 0.5 and not mask.all():
        outside = torch.randn(shape, generator=generator, device=device) * ~mask
        background = convolve(outside, kernel)
        spread = background[mask].std() if mask.sum() > 1 else background.std()
        strength = uniform(0, settings.max_background_ppm, generator)
        corruption = corruption + background * (strength / spread.clamp(min=1e-9))
    if settings.max_structured_ppm > 0:
        structure = multiscale_texture(shape, voxel_size_mm, generator)
        corruption = corruption + structure * uniform(0, settings.max_structured_ppm, generator)
    return corruption
