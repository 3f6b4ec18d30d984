"""The unit dipole: kernel in k-space, field of a susceptibility distribution, closed-form solves.

Convolution with the dipole is a multiplication in k-space, so every quadratic data-consistency
step has a closed form. k-space is uncentred; real volumes use the half spectrum of ``rfftn``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from isdu_bids.physics.padding import along, fast_shape, pad_to

Vector = Sequence[float]


def dipole_kernel(
    shape: Sequence[int],
    voxel_size_mm: Vector,
    b0_direction: Vector,
    *,
    dc_value: float = 0.0,
    device: torch.device | str = "cpu",
) -> torch.Tensor:
    r"""Dipole response in k-space, ``D(k) = 1/3 - (k·b0)^2 / |k|^2``.

    Frequencies are physical (cycles/mm), so voxels may be anisotropic and B0 oblique. On Nyquist
    planes of even axes +f and -f are one sample; the kernel takes the mean over both signs, where
    the products ``k_i k_j`` of ``(k·b0)^2`` vanish. So it is even, the field of a real
    susceptibility is real, and mirroring volume and B0 mirrors the field.

    Parameters
    ----------
    shape
        Matrix size (x, y, z) of the volume.
    voxel_size_mm
        Voxel edge lengths in mm.
    b0_direction
        Unit vector of B0 along the voxel axes.
    dc_value
        Value at k = 0. Zero makes the mean of chi unobservable, as physics has it; published
        ISDU-QSMNet checkpoints were trained with 1/3.
    device
        Where to put the kernel.

    Returns
    -------
    torch.Tensor
        float32, shape ``(x, y, z//2 + 1)``, dimensionless.

    References
    ----------
    Marques & Bowtell 2005, doi:10.1002/cmr.b.20034.

    Examples
    --------
    >>> kernel = dipole_kernel((4, 4, 4), (1, 1, 1), (0, 0, 1))
    >>> round(float(kernel[0, 0, 1]), 4), round(float(kernel[1, 0, 0]), 4)
    (-0.6667, 0.3333)
    """
    (x, y, z), (signed_x, signed_y, signed_z) = _frequencies(shape, voxel_size_mm)
    bx, by, bz = b0_direction
    along_b0_squared = (bx * x) ** 2 + (by * y) ** 2 + (bz * z) ** 2
    along_b0_squared = along_b0_squared + 2 * (
        bx * by * signed_x * signed_y
        + by * bz * signed_y * signed_z
        + bz * bx * signed_z * signed_x
    )
    squared = x**2 + y**2 + z**2
    squared[0, 0, 0] = 1.0
    kernel = 1 / 3 - along_b0_squared / squared
    kernel[0, 0, 0] = dc_value
    return kernel.to(device=device, dtype=torch.float32)


def _frequencies(
    shape: Sequence[int], voxel_size_mm: Vector
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Cycles/mm along each axis of a half spectrum; and with 0 where the sign is ambiguous."""
    plain: list[torch.Tensor] = []
    signed: list[torch.Tensor] = []
    for axis, (n, size) in enumerate(zip(shape, voxel_size_mm, strict=True)):
        k = torch.fft.fftfreq(n, d=float(size), dtype=torch.float64)
        without_nyquist = k.clone()
        if n % 2 == 0:
            without_nyquist[n // 2] = 0
        for frequencies, result in ((k, plain), (without_nyquist, signed)):
            half = frequencies[: n // 2 + 1] if axis == 2 else frequencies
            result.append(along(half, axis))
    return plain, signed


def spectrum(volume: torch.Tensor) -> torch.Tensor:
    """Half spectrum of real volumes ``(..., x, y, z)``."""
    return torch.fft.rfftn(volume, dim=(-3, -2, -1))


def from_spectrum(half: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Real volumes ``(..., *shape)`` of half spectra."""
    return torch.fft.irfftn(half, s=tuple(shape), dim=(-3, -2, -1))


def convolve(volume: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """Circular convolution of real volumes ``(..., x, y, z)`` with a half-spectrum kernel.

    The operator is linear and self-adjoint, because the kernel is real and even.
    """
    return from_spectrum(spectrum(volume) * kernel, volume.shape[-3:])


def data_consistency(
    projected_k: torch.Tensor,
    prior: torch.Tensor,
    kernel: torch.Tensor,
    weight: torch.Tensor | float,
) -> torch.Tensor:
    r"""Closest susceptibility to ``prior`` that explains a field.

    Closed form of ``argmin_x ||D x - field||^2 + weight * ||x - prior||^2``:

    ``x = F^-1 [(D F field + weight * F prior) / (D^2 + weight)]``

    Parameters
    ----------
    projected_k
        ``D F field``, the half spectrum of the field (ppm) times the kernel: the same for every
        iteration.
    prior
        Real volumes ``(..., x, y, z)`` in ppm.
    kernel
        Half-spectrum dipole kernel, broadcastable to their spectra.
    weight
        Positive weight of the prior (lambda), dimensionless.
    """
    solution_k = (projected_k + weight * spectrum(prior)) / (kernel**2 + weight)
    return from_spectrum(solution_k, prior.shape[-3:])


def forward_field(
    chi_ppm: torch.Tensor, voxel_size_mm: Vector, b0_direction: Vector
) -> torch.Tensor:
    """Field (ppm) of a susceptibility distribution (ppm), free of wrap-around.

    The volume is zero-padded to twice its size, so that the periodic images of a source stay
    outside; susceptibility outside the volume is zero.
    """
    shape = chi_ppm.shape[-3:]
    padded_shape = fast_shape([2 * n for n in shape])
    kernel = dipole_kernel(padded_shape, voxel_size_mm, b0_direction, device=chi_ppm.device)
    field = convolve(pad_to(chi_ppm, padded_shape), kernel.to(chi_ppm.dtype))
    return field[..., : shape[0], : shape[1], : shape[2]]
