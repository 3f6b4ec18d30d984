"""Iterative SMV and Laplacian boundary values: subtract the harmonic field that agrees at the rim.

Both solve one boundary value problem. With S a mean over neighbours (a sphere in iSMV, the six
nearest in LBV) and Omega the voxels whose neighbours all lie in the mask, the background b obeys
``b = S b`` in Omega and equals the total field on the rim. The local field u = f - b therefore
vanishes on the rim and obeys ``(1 - S) u = (1 - S) f`` in Omega.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from isdu_bids.background.conjugate_gradients import conjugate_gradients
from isdu_bids.background.local_field import LocalField, masked_field, valid_part
from isdu_bids.background.sharp import fitting_radii
from isdu_bids.errors import DataError
from isdu_bids.physics.dipole import convolve
from isdu_bids.physics.sphere import depth_mm, fits, kernel_spectrum, neighbours, sphere
from isdu_bids.physics.window import Window

Vector = Sequence[float]


def ismv(
    field_ppm: torch.Tensor,
    mask: torch.Tensor,
    *,
    voxel_size_mm: Vector,
    radius_mm: float,
    tolerance: float,
    iterations: int,
) -> LocalField:
    """Subtract iterated spherical mean values (iSMV).

    The published iteration ``b <- S b`` in Omega creeps towards its fixed point; conjugate
    gradients get there in some ten steps.

    Parameters
    ----------
    field_ppm, mask
        Total field, shape ``(x, y, z)``, and where it can be trusted.
    voxel_size_mm
        Voxel edge lengths.
    radius_mm
        Radius of the sphere; the mask loses as much at its rim.
    tolerance, iterations
        Where the solver stops: relative residual, number of steps.

    Raises
    ------
    DataError
        If the sphere fits nowhere into the mask.

    References
    ----------
    Wen et al. 2014, doi:10.1002/mrm.24998.
    """
    field = masked_field(field_ppm, mask)
    depth = depth_mm(mask, voxel_size_mm, radius_mm)
    (radius,) = fitting_radii(depth, voxel_size_mm, (radius_mm,))
    mean = sphere(voxel_size_mm, radius)
    return _without_harmonic(field, mask, fits(depth, radius), mean, tolerance, iterations)


def lbv(
    field_ppm: torch.Tensor,
    mask: torch.Tensor,
    *,
    voxel_size_mm: Vector,
    peel: int,
    tolerance: float,
    iterations: int,
) -> LocalField:
    """Solve for Laplacian boundary values (LBV): the smallest mean, over six neighbours.

    Parameters
    ----------
    field_ppm, mask, voxel_size_mm, tolerance, iterations
        As in `ismv`.
    peel
        Layers of voxels to take off the mask first: the whole result rests on the field in the
        outermost layer, which is where it is least reliable.

    Raises
    ------
    DataError
        If nothing of the mask is left.

    References
    ----------
    Zhou et al. 2014, doi:10.1002/nbm.3064.
    """
    field = masked_field(field_ppm, mask)
    layer = depth_mm(mask, (1.0, 1.0, 1.0), peel + 1.0)
    omega = layer > peel + 1
    if not omega.any():
        raise DataError(f"the mask is too thin to peel {peel} layers off; check it or peel less")
    mean = neighbours(voxel_size_mm)
    return _without_harmonic(field, layer > peel, omega, mean, tolerance, iterations)


def _without_harmonic(
    field: torch.Tensor,
    mask: torch.Tensor,
    omega: torch.Tensor,
    mean: torch.Tensor,
    tolerance: float,
    iterations: int,
) -> LocalField:
    """Solve the boundary value problem; without a rim, ``1 / (1 - S)`` would, so it preconditions.

    No sphere around a voxel of Omega leaves the mask, so the mask's box needs no padding.
    """
    window = Window.around(mask)
    inside = window.cut(omega.float())
    high_pass = 1 - kernel_spectrum(mean.to(field), window.shape)
    inverse = 1 / high_pass
    inverse[0, 0, 0] = inverse[0, 0, 1]
    solution = conjugate_gradients(
        lambda x: inside * convolve(x, high_pass),
        inside * convolve(window.cut(field * mask), high_pass),
        preconditioner=lambda x: inside * convolve(x, inverse),
        tolerance=tolerance,
        iterations=iterations,
    )
    return valid_part(window.put_back(solution), omega)
