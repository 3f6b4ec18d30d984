"""How noisy a local field is, seen on the zero cone of the dipole, where it has no source."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from isdu_bids.physics.dipole import dipole_kernel, spectrum
from isdu_bids.physics.power import spectral_mean, wave_number_per_mm
from isdu_bids.physics.window import Window

#: What counts as the cone, and as beside it, in |D|.
_CONE, _BESIDE = (0.0, 0.03), (0.15, 0.3)
#: Part of the amplitude beside the cone that is seen on it, because the mask blurs the spectrum:
#: 0.17 to 0.20 in fields of susceptibility alone, simulated from COSMOS maps of three heads.
_LEAK = 0.2
#: Wavelengths looked at, as fractions of the Nyquist frequency of the coarsest axis: longer ones
#: leak in from outside the cone, shorter ones are filtered by scanners.
_BAND = (0.5, 0.9)
#: Voxels over which the field is faded out at the surface of the mask, against leakage.
_FADE_VOXELS = 8


def cone_noise_ppm(
    field_ppm: torch.Tensor,
    mask: torch.Tensor,
    *,
    voxel_size_mm: Sequence[float],
    b0_direction: Sequence[float],
) -> float:
    """White noise that would explain the power of a local field on the zero cone.

    With ``P = mean |F(w f)|^2 / sum w^2`` over half to nine tenths of the Nyquist frequency, and w
    that fades out towards the surface of the mask: noise n and susceptibility s give
    ``P_beside = s^2 + n^2`` where 0.15 < |D| < 0.3 and ``P_cone = (0.2 s)^2 + n^2`` where
    |D| < 0.03, hence n. It holds thermal noise and whatever no scalar susceptibility explains
    (anisotropy, flow, motion) at short wavelengths.

    Parameters
    ----------
    field_ppm, mask
        Local field and where it is valid, ``(x, y, z)``.
    voxel_size_mm, b0_direction
        Geometry in voxel axes.

    Returns
    -------
    float
        Standard deviation in ppm; 0 where the mask holds nothing.
    """
    window = Window.around(mask)
    inside = window.cut(mask.float())
    weight = _faded(inside)
    if not float(weight.square().sum()):
        return 0.0
    field = window.cut(torch.where(mask.bool(), field_ppm.float(), 0.0))
    mean = (field * weight).sum() / weight.sum()
    power = spectrum((field - mean) * weight).abs().square() / weight.square().sum()
    kernel = dipole_kernel(window.shape, voxel_size_mm, b0_direction, device=field.device).abs()
    wave_number = wave_number_per_mm(window.shape, voxel_size_mm).to(field.device)
    nyquist = 0.5 / max(voxel_size_mm)
    in_band = (wave_number > _BAND[0] * nyquist) & (wave_number < _BAND[1] * nyquist)
    cone, beside = (
        spectral_mean(power, window.shape, in_band & (kernel >= low) & (kernel < high))
        for low, high in (_CONE, _BESIDE)
    )
    squared = (cone - _LEAK**2 * beside) / (1 - _LEAK**2)
    return squared**0.5 if squared > 0 else 0.0  # not a number: too few voxels to tell


def _faded(inside: torch.Tensor) -> torch.Tensor:
    """Mask that rises smoothly from its surface over some voxels."""
    layer, depth = inside[None, None], torch.zeros_like(inside)
    for _ in range(_FADE_VOXELS):
        depth = depth + layer[0, 0]
        layer = -F.max_pool3d(-F.pad(layer, (1,) * 6), 3, 1)
    share = depth / _FADE_VOXELS
    return share**2 * (3 - 2 * share)
