"""All comparisons of the echoes of a scan, before anything is computed from them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from isdu_bids.phase.consistency import check_echoes
from isdu_bids.phase.gaps import find_gaps
from isdu_bids.phase.magnitudes import check_decay, head_of, seen_in_most
from isdu_bids.phase.mirroring import refuse_mirrored_images
from isdu_bids.phase.wrapping import FloatArray


def compare_echoes(
    phase_rad: FloatArray,
    magnitude: FloatArray,
    echo_times_s: Sequence[float],
    voxel_size_mm: Sequence[float],
    phase_names: Sequence[str],
    magnitude_names: Sequence[str],
) -> tuple[FloatArray, tuple[str, ...]]:
    """Compare the echoes' magnitudes and phases; turn an echo that is certainly negated.

    Parameters
    ----------
    phase_rad, magnitude
        Shape ``(echo, x, y, z)``; the magnitude is finite.
    echo_times_s
        In seconds.
    voxel_size_mm
        Edge lengths of a voxel.
    phase_names, magnitude_names
        Of the files, one per echo, for messages.

    Returns
    -------
    phase_rad, flags
        Phase of echoes that agree, and short names of what a reader must know.

    Raises
    ------
    DataError
        If echoes contradict each other; the file is named.
    """
    head = head_of(magnitude) & np.isfinite(phase_rad).all(axis=0)
    refuse_mirrored_images(phase_rad, magnitude, voxel_size_mm, phase_names, magnitude_names)
    flags = check_decay(magnitude, echo_times_s, head, magnitude_names)
    flags += find_gaps(phase_rad, magnitude, seen_in_most(magnitude))
    found = check_echoes(phase_rad, magnitude, echo_times_s, head, voxel_size_mm, phase_names)
    signs = np.array(found.signs, phase_rad.dtype)[:, None, None, None]
    return signs * phase_rad, (*flags, *found.flags)


def echo_names(files: Sequence[str | Path], n_echoes: int) -> list[str]:
    """Name the file of every echo, and the volume where one file holds them all.

    Examples
    --------
    >>> echo_names(["a.nii"], 2)
    ['a.nii (volume 1)', 'a.nii (volume 2)']
    """
    if len(files) == n_echoes:
        return [str(file) for file in files]
    return [f"{files[0]} (volume {k})" for k in range(1, n_echoes + 1)]
