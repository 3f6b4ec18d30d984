"""Registration of a brain to a template by ANTs, and resampling of its maps.

References
----------
Avants et al. 2008, symmetric diffeomorphic registration, doi:10.1016/j.media.2007.06.004.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from isdu_bids.errors import DataError
from isdu_bids.images import load_volume, save_volume

#: Rigid before affine: heads may be tilted.
_REGISTER = """
import sys
import ants
fixed, moving = (ants.image_read(path) for path in sys.argv[1:3])
ants.registration(
    fixed, moving, "SyNRA", outprefix=sys.argv[3], write_composite_transform=True
)
"""

FloatArray = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Transforms:
    """Files that turn images of the scan into the template's space, and back."""

    forward: Path
    inverse: Path


class Registration(Protocol):
    """What a registration library must do; files in, files out."""

    def register(self, moving: Path, fixed: Path, folder: Path) -> Transforms:
        """Find the transforms between two brains without skull; they are written to a folder."""

    def resample(self, image: Path, grid: Path, transform: Path, output: Path) -> None:
        """Write an image on the grid of another one, by linear interpolation."""


class Ants:
    """Affine and symmetric diffeomorphic (SyN) registration with mutual information.

    Mutual information, since gradient-echo and T1-weighted contrast have no linear relation.
    """

    def register(self, moving: Path, fixed: Path, folder: Path) -> Transforms:
        """Register with ANTs' own schedule, down to half of the template's resolution."""
        prefix = folder / "transform_"
        # apart from this process, which a crash of compiled code would take along
        command = [sys.executable, "-c", _REGISTER, str(fixed), str(moving), str(prefix)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise RuntimeError(f"ANTs ended with code {done.returncode} ({last})")
        return Transforms(Path(f"{prefix}Composite.h5"), Path(f"{prefix}InverseComposite.h5"))

    def resample(self, image: Path, grid: Path, transform: Path, output: Path) -> None:
        """Resample with a composite transform of `register`."""
        import ants

        resampled = ants.apply_transforms(
            fixed=ants.image_read(str(grid)),
            moving=ants.image_read(str(image)),
            transformlist=[str(transform)],
            interpolator="linear",
        )
        ants.image_write(resampled, str(output))


def skull_stripped(image: Path, mask: Path, output: Path) -> Path:
    """Write an image without what lies outside of a mask on the same grid."""
    volume, inside = load_volume(image), load_volume(mask).data > 0
    if inside.shape != volume.data.shape or not inside.any():
        raise DataError(f"{mask} is empty, or does not lie on the grid of {image}")
    return save_volume(volume.data * inside, volume.affine, output)


def resample_inside(
    maps: dict[str, FloatArray],
    mask: npt.NDArray[Any],
    affine: npt.ArrayLike,
    *,
    grid: Path,
    transform: Path,
    folder: Path,
    registration: Registration,
) -> tuple[dict[str, FloatArray], npt.NDArray[np.bool_]]:
    r"""Resample maps that are valid in a mask only, without mixing in what lies outside.

    .. math:: y = W(m x) / W(m) \quad\text{where}\quad W(m) > 1/2,

    with the linear interpolation :math:`W`; zero elsewhere. Plain interpolation would pull values
    at the rim towards zero.

    Parameters
    ----------
    maps
        Name -> values ``(x, y, z)``, in any units.
    mask
        Where they are valid, ``(x, y, z)``.
    affine
        Voxel to world of maps and mask.
    grid
        Image on whose grid the results lie.
    transform
        From the scan to the template.
    folder
        For files in between.
    registration
        The library.

    Returns
    -------
    maps
        Under their names, on the new grid.
    mask
        Where they are valid, on the new grid.
    """

    def warped(data: FloatArray) -> FloatArray:
        source, target = folder / "before.nii", folder / "after.nii"
        save_volume(data.astype(np.float32), affine, source)
        registration.resample(source, grid, transform, target)
        return load_volume(target).data

    inside = mask > 0
    weight = warped(inside.astype(np.float32))
    valid = weight > 0.5
    results = {}
    for name, data in maps.items():
        total = warped(np.where(inside, data, 0))
        results[name] = np.where(valid, total / np.where(valid, weight, 1), 0).astype(np.float32)
    return results, valid
