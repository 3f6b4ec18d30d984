"""A small picture of a susceptibility map, so that a whole cohort fits on one screen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from isdu_bids.files import replacing
from isdu_bids.reports.figures import CHI_WINDOW_PPM
from isdu_bids.reports.mosaic import Row, View, Volume, to_ras

#: Every thumbnail has this width and height, so that they can be compared at a glance.
SIZE_PX = (232, 128)
_MM_PER_PX = 1.6
#: The basal ganglia, and a sagittal plane that misses the midline.
_SLICES = (("axial", 0.45), ("sagittal", 0.6))


def write_thumbnail(
    path: Path, chi_ppm: Volume, mask: Volume, affine: npt.ArrayLike, brain: Volume
) -> Path:
    """Write an axial and a sagittal slice side by side, at one scale and in a fixed window.

    Parameters
    ----------
    path
        With an extension that Pillow writes.
    chi_ppm, mask
        The map, shape ``(x, y, z)``, and where it is valid; the rest is black.
    affine
        Voxel to world.
    brain
        Mask whose box decides where the slices lie, so that an eroded rim does not move them.
    """
    shown, ras_affine = to_ras(np.where(mask > 0, chi_ppm, np.nan), affine)
    view = View.around(to_ras(brain, affine)[0], ras_affine)
    canvas = Image.new("L", SIZE_PX)
    widths = [view.size_mm(plane)[0] for plane, _ in _SLICES]
    left = (SIZE_PX[0] - sum(widths) / _MM_PER_PX) / 2
    for (plane, fraction), width in zip(_SLICES, widths, strict=True):
        grey = _grey(view.picture(Row(shown, plane, (fraction,))))
        size = [round(length / _MM_PER_PX) for length in view.size_mm(plane)]
        tile = Image.fromarray(grey[::-1]).resize((size[0], size[1]), Image.Resampling.BILINEAR)
        canvas.paste(tile, (round(left), (SIZE_PX[1] - size[1]) // 2))
        left += width / _MM_PER_PX
    with replacing(path) as partial:
        canvas.save(partial, quality=80)
    return path


def _grey(chi_ppm: Volume) -> npt.NDArray[np.uint8]:
    """Grey values of a fixed window; zero where there is no value."""
    scaled = (chi_ppm + CHI_WINDOW_PPM) / (2 * CHI_WINDOW_PPM)
    return np.nan_to_num(255 * np.clip(scaled, 0.02, 1)).astype(np.uint8)
