"""Reference of the susceptibility: its zero is not observable and must be chosen and stated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from isdu_bids.errors import DataError

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

#: Free fluid decays slower than any tissue at clinical field strengths (1/s).
_MAX_CSF_R2STAR = 5.0
#: Ventricles lie within this part of the mask's extent around its centre.
_CENTRAL_FRACTION = 0.5
_MIN_CSF_ML = 1.0


@dataclass(frozen=True)
class Referenced:
    """Referenced map, and the reference as the consensus asks to report it.

    Attributes
    ----------
    chi_ppm
        The map minus ``offset_ppm`` inside the mask.
    region
        Plain name of the reference region.
    offset_ppm
        Mean of the unreferenced map over the region.
    sd_ppm
        Standard deviation of the region.
    n_voxels
        Size of the region.
    """

    chi_ppm: FloatArray
    region: str
    offset_ppm: float
    sd_ppm: float
    n_voxels: int


def reference(chi_ppm: FloatArray, mask: BoolArray, region: BoolArray, name: str) -> Referenced:
    """Set the mean of ``region`` to zero; voxels outside ``mask`` stay zero.

    Raises
    ------
    DataError
        If the region holds no voxel of the mask.
    """
    values = chi_ppm[region & mask]
    if values.size == 0:
        raise DataError(f"reference region {name!r} is empty; choose another with --reference")
    offset = float(values.mean(dtype=np.float64))
    referenced = np.where(mask, chi_ppm - offset, 0).astype(np.float32)
    return Referenced(referenced, name, offset, float(values.std(dtype=np.float64)), values.size)


def whole_mask(mask: BoolArray) -> BoolArray:
    """Every voxel of the mask."""
    return mask


def csf_region(
    r2star_per_s: FloatArray, mask: BoolArray, voxel_size_mm: tuple[float, float, float]
) -> BoolArray:
    """Ventricular fluid: the largest connected slowly decaying regions in the middle of the mask.

    Raises
    ------
    DataError
        If less than 1 ml is found, for instance where the echoes are too short to see R2*.

    References
    ----------
    Liu et al. 2018 (MEDI+0), doi:10.1002/mrm.26946.
    """
    central = np.zeros_like(mask)
    hit = np.argwhere(mask)
    low, high = hit.min(0), hit.max(0) + 1
    trim = (high - low) * (1 - _CENTRAL_FRACTION) / 2
    box = tuple(slice(int(a + t), int(b - t)) for a, b, t in zip(low, high, trim, strict=True))
    central[box] = True
    slow = mask & central & (r2star_per_s > 0) & (r2star_per_s < _MAX_CSF_R2STAR)
    slow = ndimage.binary_opening(slow)
    labels, n = ndimage.label(slow)
    sizes = np.bincount(labels.ravel(), minlength=n + 1)[1:]
    voxel_ml = float(np.prod(voxel_size_mm)) / 1000
    largest = [1 + int(i) for i in np.argsort(sizes)[::-1][:3]]
    region = np.isin(labels, largest) & slow
    if region.sum() * voxel_ml < _MIN_CSF_ML:
        raise DataError(
            f"no ventricular fluid found by R2* < {_MAX_CSF_R2STAR} /s "
            f"({region.sum() * voxel_ml:.2f} ml); use --reference whole-mask"
        )
    return region
