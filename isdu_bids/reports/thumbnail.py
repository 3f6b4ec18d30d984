"""A small picture of a susceptibility map, so that a whole cohort fits on one screen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from isdu_bids.files import replacing
from isdu_bids.reports.figures import CHI_WINDOW_PPM
from isdu_bids.reports.mosaic import PLANES, Row, View, Volume, to_ras

#: Every thumbnail has this width and height, so that they can be compared at a glance.
SIZE_PX = (232, 128)
_MM_PER_PX = 1.6
#: Planes, and where they lie in the box of the brain unless the pallidum is labelled.
_PLANES = {"axial": 0.5, "sagittal": 0.6}
_RIGHT_PALLIDUM = 52


def write_thumbnail(
    path: Path,
    chi_ppm: Volume,
    mask: Volume,
    affine: npt.ArrayLike,
    brain: Volume,
    labels: Volume | None = None,
) -> Path:
    """Write an axial and a sagittal slice side by side, at one scale and in a fixed window.

    They cut the right pallidum, or a likely place of it.

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
    labels
        FreeSurfer's.
    """
    shown, ras_affine = to_ras(np.where(mask > 0, chi_ppm, np.nan), affine)
    view = View.around(to_ras(brain, affine)[0], ras_affine)
    fractions = dict(_PLANES)
    if labels is not None:
        fractions |= _through_pallidum(to_ras(labels, affine)[0], view)
    canvas = Image.new("L", SIZE_PX)
    left = (SIZE_PX[0] - sum(_size_px(view, plane)[0] for plane in _PLANES)) // 2
    for plane, fraction in fractions.items():
        grey = _grey(view.picture(Row(shown, plane, (fraction,))))
        width, height = _size_px(view, plane)
        tile = Image.fromarray(grey[::-1]).resize((width, height), Image.Resampling.BILINEAR)
        canvas.paste(tile, (left, (SIZE_PX[1] - height) // 2))
        left += width
    with replacing(path) as partial:
        canvas.save(partial, quality=80)
    return path


def _through_pallidum(labels: Volume, view: View) -> dict[str, float]:
    places = np.argwhere(labels[view.box] == _RIGHT_PALLIDUM)
    if not len(places):
        return {}
    axes = {plane: PLANES[plane][0] for plane in _PLANES}
    extent = [cut.stop - cut.start - 1 for cut in view.box]
    return {plane: float(places[:, axis].mean()) / extent[axis] for plane, axis in axes.items()}


def _size_px(view: View, plane: str) -> tuple[int, int]:
    width, height = view.size_mm(plane)
    return round(width / _MM_PER_PX), round(height / _MM_PER_PX)


def _grey(chi_ppm: Volume) -> npt.NDArray[np.uint8]:
    """Grey values of a fixed window; zero where there is no value."""
    scaled = (chi_ppm + CHI_WINDOW_PPM) / (2 * CHI_WINDOW_PPM)
    return np.nan_to_num(255 * np.clip(scaled, 0.02, 1)).astype(np.uint8)
