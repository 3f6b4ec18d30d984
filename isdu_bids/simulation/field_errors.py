"""What measurement and phase processing leave in a local field, and where it is known at all."""

from __future__ import annotations

from collections.abc import Sequence
from math import cos, pi, sin

import torch
import torch.nn.functional as F

from isdu_bids.physics.dipole import convolve
from isdu_bids.simulation.random_fields import multiscale_texture, smooth_noise, uniform
from isdu_bids.simulation.tissues import R2STAR_PER_PPM


def random_mask(brain: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
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


def field_errors(
    chi_ppm: torch.Tensor,
    mask: torch.Tensor,
    kernel: torch.Tensor,
    voxel_size_mm: Sequence[float],
    generator: torch.Generator,
    *,
    max_noise_ppm: float,
    max_background_ppm: float,
    max_structured_ppm: float = 0.0,
    max_echo_time_s: float = 0.0,
    max_rim_noise: float = 0.0,
) -> torch.Tensor:
    """Noise that follows the magnitude, and what background removal leaves (ppm).

    Parameters
    ----------
    chi_ppm, mask
        Susceptibility and where the field is known, ``(x, y, z)``.
    kernel
        Half-spectrum dipole kernel of that grid.
    voxel_size_mm
        Edge lengths.
    generator
        Source of every random number.
    max_noise_ppm, max_background_ppm, max_structured_ppm
        Largest standard deviations, see `isdu_bids.simulation.patches.PatchSettings`.
    max_echo_time_s
        Longest echo time: noise grows as ``exp(TE R2*)`` where iron shortens T2*.
    max_rim_noise
        How many times more noise the mask's outermost voxels have than its depth, at most.
    """
    noise = torch.randn(mask.shape, generator=generator, device=generator.device)
    growth = _shading(mask, voxel_size_mm, generator)
    errors = noise * growth * uniform(0, max_noise_ppm, generator)
    errors = errors * _growth(chi_ppm, mask, generator, max_echo_time_s, max_rim_noise)
    if uniform(0, 1, generator) < 0.5 and not mask.all():
        background = _background(mask, kernel, generator)
        errors = errors + background * uniform(0, max_background_ppm, generator)
    if max_structured_ppm > 0:
        structure = multiscale_texture(mask.shape, voxel_size_mm, generator)
        errors = errors + structure * uniform(0, max_structured_ppm, generator)
    return errors


def levelled_errors(
    chi_ppm: torch.Tensor,
    mask: torch.Tensor,
    kernel: torch.Tensor,
    voxel_size_mm: Sequence[float],
    generator: torch.Generator,
    level_ppm: float,
    *,
    max_echo_time_s: float = 0.0,
    max_rim_noise: float = 0.0,
    tissue_shift: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Errors of a given level, and their standard deviation, for networks that are told it (ppm).

    ``level growth (sqrt(1 - a^2) white + a texture) + residual background of up to the level``
    with ``a`` up to 0.6; a tissue shift of share ``b`` up to 0.9 makes room for itself,
    ``sqrt(1 - b^2) (...) + b shift``. In half of the cases the standard deviation is a map, in the
    others one number, the root mean square of that map inside the mask.

    Parameters
    ----------
    chi_ppm, mask, kernel, voxel_size_mm, generator, max_echo_time_s, max_rim_noise
        As for `field_errors`.
    level_ppm
        Standard deviation where nothing lets the errors grow.
    tissue_shift
        Errors that follow the anatomy, see `draw_tissue_shift`.
    """
    shape, device = mask.shape, generator.device
    structured = uniform(0, 0.6, generator)
    errors = (1 - structured**2) ** 0.5 * torch.randn(shape, generator=generator, device=device)
    errors = errors + structured * multiscale_texture(shape, voxel_size_mm, generator)
    if tissue_shift is not None:
        share = uniform(0, 0.9, generator)
        errors = (1 - share**2) ** 0.5 * errors + share * tissue_shift
    growth = _shading(mask, voxel_size_mm, generator)
    growth = growth * _growth(chi_ppm, mask, generator, max_echo_time_s, max_rim_noise)
    errors, field_sd = level_ppm * growth * errors, level_ppm * growth
    if uniform(0, 1, generator) < 0.5 and not mask.all():
        residue = _background(mask, kernel, generator) * level_ppm * uniform(0, 1, generator)
        errors = errors + residue
    if uniform(0, 1, generator) < 0.5:
        squared = (field_sd[mask] ** 2).mean() if mask.any() else (field_sd**2).mean()
        field_sd = squared.sqrt() * torch.ones_like(field_sd)
    return errors, field_sd


def draw_tissue_shift(
    labels: torch.Tensor,
    chi_ppm: torch.Tensor,
    mask: torch.Tensor,
    voxel_size_mm: Sequence[float],
    generator: torch.Generator,
) -> torch.Tensor:
    """Frequency shifts that stay where the tissue is; mean 0, standard deviation 1 inside the mask.

    Microstructure and exchange shift a tissue's frequency without any dipole field around it
    (doi:10.1073/pnas.1211075109): here by a random amount per region, which fibres that turn change
    over 25 mm, and in proportion to the susceptibility.
    """

    def normalised(shift: torch.Tensor) -> torch.Tensor:
        known = shift[mask] if mask.sum() > 1 else shift
        return (shift - known.mean()) / known.std().clamp(min=1e-9)

    of_region = torch.randn(int(labels.max()) + 1, generator=generator, device=labels.device)
    turning = 1 + smooth_noise(labels.shape, voxel_size_mm, 25.0, generator)
    angle = uniform(0, 2 * pi, generator)
    by_region, by_chi = normalised(of_region[labels.long()] * turning), normalised(chi_ppm)
    return normalised(cos(angle) * by_region + sin(angle) * by_chi)


def _shading(
    mask: torch.Tensor, voxel_size_mm: Sequence[float], generator: torch.Generator
) -> torch.Tensor:
    """Noise that differs over the volume, as the coils' sensitivities do."""
    return torch.exp(0.4 * smooth_noise(mask.shape, voxel_size_mm, 30.0, generator))


def _growth(
    chi_ppm: torch.Tensor,
    mask: torch.Tensor,
    generator: torch.Generator,
    max_echo_time_s: float,
    max_rim_noise: float,
) -> torch.Tensor:
    """Factor by which noise grows where iron shortens T2*, and towards the mask's surface."""
    growth = torch.ones_like(chi_ppm)
    if max_echo_time_s > 0:
        decay = uniform(0, max_echo_time_s, generator) * R2STAR_PER_PPM * chi_ppm.abs()
        growth = growth * torch.exp(decay.clamp(max=3))  # later echoes are weighted down
    if max_rim_noise > 0:
        growth = growth * (1 + uniform(0, max_rim_noise, generator) * _nearness_to_rim(mask))
    return growth


def _background(
    mask: torch.Tensor, kernel: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """Field of random sources outside the mask, standard deviation 1 inside."""
    outside = torch.randn(mask.shape, generator=generator, device=generator.device) * ~mask
    background = convolve(outside, kernel)
    spread = background[mask].std() if mask.sum() > 1 else background.std()
    return background / spread.clamp(min=1e-9)


def _nearness_to_rim(mask: torch.Tensor, depth_voxels: int = 6) -> torch.Tensor:
    """1 at the surface of the mask, falling to 0 at a depth; the volume's edge is no surface."""
    inside = mask.float()[None, None]
    shells = torch.zeros_like(inside)
    for _ in range(depth_voxels):
        shells += inside
        inside = -F.max_pool3d(-inside, 3, 1, 1)
    return (1 - shells[0, 0] / depth_voxels).clamp(min=0) ** 2


def unwrapping_leftovers(mask: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Field (ppm) of 1 to 8 voxels, alone or with some of their neighbours, that are a turn off.

    A turn is 0.39 ppm at 3 T and an echo time of 20 ms; here 0.1 to 0.8 ppm.
    """
    device = generator.device
    turns = torch.zeros(mask.shape, device=device)
    voxels = torch.nonzero(mask)
    if len(voxels) == 0:
        return turns
    n = 1 + int(uniform(0, 8, generator))
    picks = torch.randint(len(voxels), (n,), generator=generator, device=device)
    signs = torch.randint(2, (n,), generator=generator, device=device) * 2 - 1
    turns[tuple(voxels[picks].T)] = signs.float()
    if uniform(0, 1, generator) < 0.5:
        wide = F.max_pool3d(turns[None], 3, 1, 1) - F.max_pool3d(-turns[None], 3, 1, 1)
        some = torch.rand(mask.shape, generator=generator, device=device) < 0.4
        turns = torch.where(turns != 0, turns, wide[0] * some)
    return turns * mask * 0.1 * 8 ** uniform(0, 1, generator)


def truncate_k_space(
    field_ppm: torch.Tensor, magnitude: torch.Tensor, rad_per_ppm: float, kept: float
) -> torch.Tensor:
    """Field seen in an image whose k-space was truncated: Gibbs ringing of the complex signal.

    Parameters
    ----------
    field_ppm, magnitude
        Of the true signal ``magnitude exp(i rad_per_ppm field)``, ``(x, y, z)``.
    rad_per_ppm
        Phase per field at the echo time.
    kept
        Fraction of k-space kept along every axis; 1 changes nothing.
    """
    signal = torch.polar(magnitude, rad_per_ppm * field_ppm)
    spectrum = torch.fft.fftn(signal)
    for axis, n in enumerate(signal.shape):
        inside = torch.fft.fftfreq(n, device=signal.device).abs() <= kept / 2
        spectrum = spectrum * inside.reshape([-1 if a == axis else 1 for a in range(3)])
    change = torch.angle(torch.fft.ifftn(spectrum) * signal.conj())
    return field_ppm + change / rad_per_ppm
