"""Training patches: local field, mask and susceptibility of a random piece of a random head.

A patch is drawn straight from the label map at a random position, orientation, scale, voxel size
and direction of B0. Its field is periodic on the patch, so that the dipole of the patch explains
the field exactly: fields cut out of a larger volume contradict the data-consistency step (47
against 42 % NRMSE in a trial). A fraction of the patches is cut out of a larger one all the same:
it teaches the network to bear fields of sources that it cannot see.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import acos, cos, radians, sin

import torch
import torch.nn.functional as F

from isdu_bids.errors import DataError, UsageError
from isdu_bids.physics.dipole import convolve, dipole_kernel
from isdu_bids.simulation.field_errors import (
    draw_tissue_shift,
    field_errors,
    levelled_errors,
    random_mask,
    truncate_k_space,
    unwrapping_leftovers,
)
from isdu_bids.simulation.random_fields import happens, smooth_noise, uniform
from isdu_bids.simulation.sampling import block_mean, nearest_labels, partial_volume
from isdu_bids.simulation.susceptibility import brain_mask, draw_susceptibility
from isdu_bids.units import rad_per_ppm

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
    contrast
        Range of the factor by which the susceptibility of a whole patch is scaled.
    sign_flip_fraction
        How many patches are negated, which keeps the network close to linear but hides from it
        that iron is paramagnetic.
    max_noise_ppm
        Largest standard deviation of the field's noise.
    max_background_ppm
        Largest standard deviation of the residual background field.
    cut_fraction, context_voxels
        How many patches are cut out of a larger one, and how much wider that is on each side.
    max_structured_ppm
        Largest standard deviation of spatially correlated errors that no susceptibility explains:
        anisotropy, motion, what phase processing leaves.
    max_echo_time_s
        Longest echo time, over which iron's faster decay amplifies the noise; 0 leaves it white.
    noise_level_ppm
        Smallest and largest standard deviation of the field's errors, drawn log-uniformly; takes
        the place of the three ``max_..._ppm`` above, which then do not count (see
        `field_errors.levelled_errors`). (0, 0): off.
    max_rim_noise
        How many times more noise there is at the mask's surface than in its depth, at most.
    tissue_shift_fraction
        How many patches of known noise have errors that follow the anatomy.
    wrap_fraction
        How many patches hold voxels or small clusters that unwrapping left a turn off.
    gibbs_fraction
        How many patches ring, because k-space was truncated.
    finer_grid
        Anatomy and field are simulated on a grid this many times finer, then averaged over each
        voxel, so that voxels at borders hold several tissues.
    cyst_fraction, pallidum_iron_fraction
        How many patches may hold a cyst, and iron deposits in the pallidum.
    max_lesion_ppm
        Susceptibility of the strongest bleeds; calcifications reach 3/4 of its negative.
    """

    size: int = 48
    voxel_size_mm: tuple[float, float] = (0.6, 2.5)
    max_rotation_deg: float = 15.0
    max_scale: float = 0.12
    contrast: tuple[float, float] = (0.7, 1.4)
    sign_flip_fraction: float = 0.25
    max_noise_ppm: float = 0.005
    max_background_ppm: float = 0.004
    max_structured_ppm: float = 0.0
    cut_fraction: float = 0.0
    context_voxels: int = 12
    noise_level_ppm: tuple[float, float] = (0.0, 0.0)
    max_echo_time_s: float = 0.0
    max_rim_noise: float = 0.0
    tissue_shift_fraction: float = 0.0
    wrap_fraction: float = 0.0
    gibbs_fraction: float = 0.0
    finer_grid: int = 1
    cyst_fraction: float = 0.0
    pallidum_iron_fraction: float = 0.0
    max_lesion_ppm: float = 2.0

    def __post_init__(self) -> None:
        if self.size < 8 or self.finer_grid < 1:
            raise UsageError("patches need a size of at least 8 and a finer_grid of at least 1")
        low, high = self.noise_level_ppm
        if high > 0 and not 0 < low <= high:
            raise UsageError(f"noise_level_ppm = [{low}, {high}]: give 0 < smallest <= largest")


@dataclass(frozen=True)
class Patch:
    """One training sample; volumes are float32 ``(1, x, y, z)``.

    ``field_sd_ppm``, what a network is told of the field's errors, is there with
    `PatchSettings.noise_level_ppm` only.
    """

    field_ppm: torch.Tensor
    mask: torch.Tensor
    chi_ppm: torch.Tensor
    kernel: torch.Tensor
    voxel_size_mm: Triple
    b0_direction: Triple
    field_sd_ppm: torch.Tensor | None = None

    def to(self, device: torch.device) -> Patch:
        """Patch on another device."""
        return replace(
            self,
            field_ppm=self.field_ppm.to(device),
            mask=self.mask.to(device),
            chi_ppm=self.chi_ppm.to(device),
            kernel=self.kernel.to(device),
            field_sd_ppm=None if self.field_sd_ppm is None else self.field_sd_ppm.to(device),
        )


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
    kernel = dipole_kernel(shape, voxel_size, direction, device=generator.device)
    labels, chi, field, mask, brain = _draw_anatomy(
        head_labels, kernel, shape, voxel_size, direction, generator, settings
    )
    if happens(settings.gibbs_fraction, generator):
        phase_per_ppm = rad_per_ppm(3.0, uniform(0.005, 0.03, generator))
        kept = uniform(0.7, 0.95, generator)
        field = truncate_k_space(field, 0.1 + 0.9 * brain, phase_per_ppm, kept)
    errors, field_sd = _errors(labels, chi, mask, kernel, voxel_size, generator, settings)
    field = field + errors
    if happens(settings.wrap_fraction, generator):
        field = field + unwrapping_leftovers(mask, generator)
    if context:
        centre = (slice(context, -context),) * 3
        field, mask, chi = field[centre], mask[centre], chi[centre]
        field_sd = None if field_sd is None else field_sd[centre]
        kernel = dipole_kernel(mask.shape, voxel_size, direction, device=generator.device)
    field, chi = (field * mask)[None], (chi * mask)[None]
    field_sd = None if field_sd is None else (field_sd * mask)[None]
    return Patch(field, mask.float()[None], chi, kernel, voxel_size, direction, field_sd)


def _errors(
    labels: torch.Tensor,
    chi: torch.Tensor,
    mask: torch.Tensor,
    kernel: torch.Tensor,
    voxel_size_mm: Triple,
    generator: torch.Generator,
    settings: PatchSettings,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Errors of the field and, where one network shall serve all levels, what it is told."""
    growth = {
        "max_echo_time_s": settings.max_echo_time_s,
        "max_rim_noise": settings.max_rim_noise,
    }
    if settings.noise_level_ppm[1] > 0:
        low, high = settings.noise_level_ppm
        level = low * (high / low) ** uniform(0, 1, generator)
        shift = None
        if happens(settings.tissue_shift_fraction, generator):
            shift = draw_tissue_shift(labels, chi, mask, voxel_size_mm, generator)
        return levelled_errors(
            chi, mask, kernel, voxel_size_mm, generator, level, tissue_shift=shift, **growth
        )
    errors = field_errors(
        chi,
        mask,
        kernel,
        voxel_size_mm,
        generator,
        max_noise_ppm=settings.max_noise_ppm,
        max_background_ppm=settings.max_background_ppm,
        max_structured_ppm=settings.max_structured_ppm,
        **growth,
    )
    return errors, None


def _draw_anatomy(
    head_labels: torch.Tensor,
    kernel: torch.Tensor,
    shape: Sequence[int],
    voxel_size_mm: Triple,
    direction: Triple,
    generator: torch.Generator,
    settings: PatchSettings,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Labels, susceptibility, its field, the mask, and the brain's share of each voxel."""
    factor = settings.finer_grid
    fine_shape = tuple(factor * n for n in shape)
    x, y, z = (size / factor for size in voxel_size_mm)
    fine_size = (x, y, z)
    labels = _sample_labels(head_labels, fine_shape, fine_size, settings, generator)
    fine_brain = brain_mask(labels)
    brain = block_mean(fine_brain.float(), factor)
    mask = random_mask(brain > 0.5, generator)
    chi = draw_susceptibility(
        labels,
        fine_size,
        generator,
        cyst_fraction=settings.cyst_fraction,
        pallidum_iron_fraction=settings.pallidum_iron_fraction,
        max_lesion_ppm=settings.max_lesion_ppm,
    )
    chi = chi * _contrast(settings, generator)
    chi = partial_volume(chi, uniform(0.0, 0.2, generator)) * fine_brain
    known = F.interpolate(mask.float()[None, None], scale_factor=float(factor))[0, 0] > 0.5
    # sources between the eroded mask and the brain's edge: background removal takes most of them
    if uniform(0, 1, generator) < 0.7:
        chi = chi * known
    if uniform(0, 1, generator) < 0.7 and mask.any():
        chi = (chi - chi[known].mean()) * (chi != 0)
    if factor > 1:
        kernel = dipole_kernel(fine_shape, fine_size, direction, device=generator.device)
    field = convolve(chi, kernel)
    labels = labels[(slice(factor // 2, None, factor),) * 3]
    return labels, block_mean(chi, factor), block_mean(field, factor), mask, brain


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


def _contrast(settings: PatchSettings, generator: torch.Generator) -> float:
    """Overall strength, with either sign."""
    sign = -1.0 if uniform(0, 1, generator) < settings.sign_flip_fraction else 1.0
    return sign * uniform(*settings.contrast, generator)
