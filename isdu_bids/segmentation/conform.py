"""The grid on which anatomical networks work, and the way back: 1 mm, RAS axes, scale 0 to 1.

The steps are those of SynthSeg (Billot et al. 2023, doi:10.1016/j.media.2023.102789).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter

from isdu_bids.errors import DataError
from isdu_bids.geometry import ras_axes, voxel_size_mm
from isdu_bids.physics.resampling import axis_positions, interpolated

#: Voxel sizes this close to 1 mm are left as they are.
TOLERANCE_MM = 0.05
#: Five halvings must come out even, and networks have not seen smaller volumes than this.
MULTIPLE_VOXELS, SMALLEST_VOXELS = 32, 128


@dataclass(frozen=True)
class Conformed:
    """A volume as a network wants it.

    Attributes
    ----------
    image
        ``(x, y, z)`` towards right, anterior, superior; float32 from 0 to 1, zero-padded.
    inner
        The part of it that is not padding.
    axes
        Axis of the input that became each axis of the image.
    positions
        For each axis of the image: where the input's voxels lie along it, in voxels of the inner
        part. They fall where the input runs the other way. Axes are only exchanged and reversed,
        never turned, so three rows of numbers are the whole way back.
    voxel_mm3
        Volume of the image's voxels.
    """

    image: torch.Tensor
    inner: tuple[slice, slice, slice]
    axes: tuple[int, int, int]
    positions: tuple[torch.Tensor, torch.Tensor, torch.Tensor]
    voxel_mm3: float

    def on_input_grid(self, volume: torch.Tensor, beyond: float = 0.0) -> torch.Tensor:
        """Sample a volume of the inner part at the input's voxels (trilinear), or `beyond` it."""
        sampled = interpolated(volume, self.positions)
        for axis, (n, row) in enumerate(zip(volume.shape, self.positions, strict=True)):
            outside = ((row < -0.5) | (row > n - 0.5)).nonzero()[:, 0]
            sampled.index_fill_(axis, outside.to(sampled.device), beyond)
        return sampled.permute(*np.argsort(self.axes).tolist())

    def cropped(self, box: tuple[slice, slice, slice]) -> Conformed:
        """Only what lies in a box of the image."""
        inner, positions = [], []
        for kept, old, row in zip(box, self.inner, self.positions, strict=True):
            first = max(kept.start, old.start)
            inner.append(slice(first - kept.start, min(kept.stop, old.stop) - kept.start))
            positions.append(row - (first - old.start))
        return replace(
            self,
            image=self.image[box],
            inner=(inner[0], inner[1], inner[2]),
            positions=(positions[0], positions[1], positions[2]),
        )


def conform(
    volume: npt.ArrayLike,
    affine: npt.ArrayLike,
    smallest: int = SMALLEST_VOXELS,
    *,
    scaled: bool = True,
) -> Conformed:
    """Bring a volume to the grid of the networks.

    If a voxel edge is outside (1 +/- 0.05) mm, all axes are filtered by a Gaussian of sigma
    ``0.25 mm / edge`` voxels where that coarsens them, and resampled linearly. Axes are put in RAS
    order by the affine; intensities clipped at the 0.5 and 99.5 percentiles and scaled to 0-1; the
    volume padded around its centre.

    Parameters
    ----------
    volume, affine
        Any contrast, ``(x, y, z)``, and its voxel-to-world matrix (RAS+, mm).
    smallest
        Least edge of the padded image, in voxels.
    scaled
        False for maps whose values have a meaning.

    Raises
    ------
    DataError
        If the volume is not three-dimensional or the affine is singular.
    """
    array = np.nan_to_num(np.asarray(volume, dtype=np.float32), posinf=0, neginf=0)
    if array.ndim != 3 or not array.size:
        raise DataError(f"segmentation: the volume has shape {array.shape}; give one 3D volume")
    edges_mm = np.array(voxel_size_mm(affine))
    factors = edges_mm if np.any(np.abs(edges_mm - 1) > TOLERANCE_MM) else np.ones(3)
    if np.any(factors != 1):
        array = gaussian_filter(array, np.where(factors > 1, 0, 0.25 / factors))
    axes, reversed_ = ras_axes(affine)
    there, back = zip(
        *(
            axis_positions(array.shape[a], factors[a], r)
            for a, r in zip(axes, reversed_, strict=True)
        ),
        strict=True,
    )
    image = interpolated(torch.from_numpy(array).permute(*axes), there)
    padded, inner = _padded(_scaled(image) if scaled else image, smallest)
    return Conformed(padded, inner, axes, back, float(np.prod(edges_mm / factors)))


def _scaled(image: torch.Tensor) -> torch.Tensor:
    low, high = np.percentile(image.numpy(), [0.5, 99.5])
    if low >= high:
        return torch.zeros_like(image)
    return (image.clamp(low, high) - low) / (high - low)


def _padded(image: torch.Tensor, smallest: int) -> tuple[torch.Tensor, tuple[slice, slice, slice]]:
    missing = [max(-(-n // MULTIPLE_VOXELS) * MULTIPLE_VOXELS, smallest) - n for n in image.shape]
    x, y, z = (slice(m // 2, m // 2 + n) for m, n in zip(missing, image.shape, strict=True))
    widths = [width for m in reversed(missing) for width in (m // 2, m - m // 2)]
    return F.pad(image, widths), (x, y, z)
