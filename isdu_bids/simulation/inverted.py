"""Susceptibility as an inversion leaves it: too weak, blurred, streaked, and not everywhere."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from isdu_bids.physics.dipole import dipole_kernel, from_spectrum, spectrum
from isdu_bids.simulation.random_fields import smooth_noise, uniform
from isdu_bids.simulation.sampling import blurred

_VOXEL_MM = (1.0, 1.0, 1.0)


def as_inverted(
    chi_ppm: torch.Tensor, brain: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """Spoil a true map (ppm, ``(x, y, z)``, 1 mm) the way that inversions spoil one.

    Its contrast falls to 0.6 at worst, it is blurred, its noise lies where the dipole kernel is
    small (streaks), background fields that were not removed shade it, and it is zero outside the
    brain, of which a rim is lost.
    """
    device = generator.device
    chi = uniform(0.6, 1.0, generator) * blurred(chi_ppm, uniform(0, 0.9, generator))
    tilt = 0.4 * torch.randn(2, generator=generator, device=device)
    direction = F.normalize(torch.cat([tilt, tilt.new_ones(1)]), dim=0).tolist()
    kernel = dipole_kernel(chi.shape, _VOXEL_MM, direction, device=device)
    white = torch.randn(chi.shape, generator=generator, device=device)
    floor = uniform(0.05, 0.3, generator)
    streaks = from_spectrum(spectrum(white) / (kernel.abs() + floor), chi.shape)
    chi = chi + uniform(0, 0.03, generator) * streaks / streaks.std()
    length_mm = uniform(20, 60, generator)
    chi = chi + uniform(0, 0.02, generator) * smooth_noise(
        chi.shape, _VOXEL_MM, length_mm, generator
    )
    outside = (~brain).float()[None, None]
    for _ in range(int(uniform(0, 4, generator))):
        outside = F.max_pool3d(outside, 3, 1, 1)
    valid = outside[0, 0] == 0
    mean = chi[valid].mean() if bool(valid.any()) else 0.0
    return (chi - mean + uniform(-0.01, 0.01, generator)) * valid
