"""The nibabel boundary: NIfTI files in, arrays with their affine out, and back.

Volumes are ``(x, y, z)`` in NIfTI voxel order; stacks are ``(echo, x, y, z)``.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import cos, radians
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

from isdu_bids.errors import DataError
from isdu_bids.files import file_state, replacing
from isdu_bids.geometry import b0_direction, voxel_size_mm

#: Largest distance between the same voxel of two files, as a fraction of the voxel, that rounding
#: in NIfTI headers explains.
_GRID_TOLERANCE_VOXELS = 0.01

#: Largest angle between the directions of B0 that sform and qform say.
_FORM_TOLERANCE_DEG = 0.5

#: By how much voxel sizes that sform, qform and pixdim say may differ, relative to the sform's.
_SIZE_TOLERANCE = 0.01

#: What a truncated, empty or foreign file, or a broken header, raises in nibabel and below it.
_READ_ERRORS = (
    OSError,
    EOFError,
    ValueError,
    OverflowError,
    MemoryError,  # a header that claims a matrix of terabytes
    zlib.error,
    nib.filebasedimages.ImageFileError,
    nib.spatialimages.HeaderDataError,
)


@dataclass(frozen=True)
class Volume:
    """An image in memory.

    Attributes
    ----------
    data
        float32, ``(x, y, z)`` or ``(echo, x, y, z)``, with the header's scaling applied.
    affine
        Voxel to world (RAS+, mm), 4x4.
    header
        NIfTI header of the file, for a stack of the last one.
    stored_dtype
        Type of the numbers on disk, before scaling.
    path
        The file, for a stack the last one.
    """

    data: npt.NDArray[np.float32]
    affine: npt.NDArray[np.float64]
    header: nib.Nifti1Header
    stored_dtype: np.dtype[Any]
    path: Path


def load_volume(path: Path | str) -> Volume:
    """Load one NIfTI file as float32, as it is: nothing is masked, squeezed or reoriented.

    Raises
    ------
    DataError
        If the file cannot be read, or its header has neither a sform nor a qform.
    """
    image = _open(path)
    try:
        _check_gzip(Path(path))
        data = np.ascontiguousarray(image.get_fdata(dtype=np.float32, caching="unchanged"))
    except _READ_ERRORS as error:
        raise _unreadable(path, error) from error
    return Volume(data, image.affine, image.header, image.get_data_dtype(), Path(path))


def load_stack(paths: Sequence[Path]) -> Volume:
    """Load the echoes of one part as a stack ``(echo, x, y, z)``.

    A 4D file contributes the volumes of its last axis. Voxels that are not finite (background
    that a scanner or a tool masked with NaN) stay so: field mapping must know them.

    Raises
    ------
    DataError
        If the grids differ, or an image holds no signal at all.
    """
    shape = check_same_grid(paths)
    data = np.empty((sum(n_volumes(path) for path in paths), *shape), dtype=np.float32)
    filled = 0
    for volume in map(load_volume, paths):
        echoes = np.moveaxis(volume.data.reshape(*shape, -1), -1, 0)
        signal = np.isfinite(echoes) & (echoes != 0)
        if not signal.any(axis=(1, 2, 3)).all():
            raise DataError(
                f"{volume.path} holds an empty volume; convert the scan again or leave it out"
            )
        data[filled : filled + len(echoes)] = echoes
        filled += len(echoes)
    return replace(volume, data=data)


def load_real_imag(real_paths: Sequence[Path], imag_paths: Sequence[Path]) -> tuple[Volume, Volume]:
    """Load real and imaginary parts as magnitude and phase (rad) stacks.

    ``magnitude = |real + i imag|``, ``phase = angle(real + i imag)``.

    Raises
    ------
    DataError
        If the grids differ, or a part has no negative value: its offset, and so the phase, is lost.
    """
    check_same_grid([*real_paths, *imag_paths])
    real, imag = load_stack(real_paths), load_stack(imag_paths)
    for part in (real, imag):
        if part.data.min() >= 0:
            raise DataError(
                f"{part.path}: the {'real' if part is real else 'imaginary'} part has no negative "
                "value, so its zero is unknown; convert the scan again with the rescale intercept"
            )
    if real.data.shape != imag.data.shape:
        raise DataError(f"{real.path} and {imag.path} have different numbers of echoes")
    signal = real.data + 1j * imag.data
    floats = replace(real, stored_dtype=np.dtype(np.float32))  # no integer range to speak of
    return replace(floats, data=np.abs(signal)), replace(floats, data=np.angle(signal))


def save_volume(
    data: npt.ArrayLike,
    affine: npt.ArrayLike,
    path: Path | str,
    header: nib.Nifti1Header | None = None,
) -> Path:
    """Save an array as ``.nii`` or ``.nii.gz``, unscaled, with sform and qform.

    The type on disk follows the array: bool is stored as uint8, 64-bit numbers as 32-bit ones,
    anything else as it is. A source ``header`` hands down its description, units and time step.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    array = _storable(np.asarray(data))
    image = nib.Nifti1Image(array, np.asarray(affine, dtype=float), header, dtype=array.dtype)
    code = max(int(image.header["sform_code"]), 1) if header is not None else 1
    image.set_sform(affine, code)
    image.set_qform(affine, code)
    image.header.set_slope_inter(None, None)
    image.header["cal_min"] = image.header["cal_max"] = 0  # the source's display window
    image.header["intent_code"] = 0
    if header is None:
        image.header.set_xyzt_units("mm", "sec")
    with replacing(Path(path)) as partial:
        nib.save(image, partial)
    return Path(path)


def check_same_grid(paths: Sequence[Path]) -> tuple[int, int, int]:
    """Read headers only and return the common matrix size (x, y, z).

    Raises
    ------
    DataError
        If a file cannot be read, is not 3D or 4D, has no valid affine, or its shape or affine
        differs from the first one's; both files are named.
    """
    first, *others = [_open(path) for path in paths]
    for path, image in zip(paths, [first, *others], strict=True):
        if image.ndim not in (3, 4) or min(image.shape) < 1:
            raise DataError(
                f"{path} has shape {image.shape}; 3D, or 4D with echoes last, is needed"
            )
        if image.shape[:3] != first.shape[:3]:
            raise DataError(
                f"{paths[0]} has shape {first.shape[:3]} but {path} {image.shape[:3]}; a slice may "
                "be missing: convert the scan again, or resample both to one grid"
            )
        if _grid_distance_voxels(first, image) > _GRID_TOLERANCE_VOXELS:
            raise DataError(
                f"{paths[0]} and {path} have different affines; the files of one scan must lie on "
                "one grid: convert the scan again, or resample both to one grid"
            )
    x, y, z = first.shape[:3]
    return x, y, z


def n_volumes(path: Path) -> int:
    """Count the volumes of a file: 1 for 3D, the length of the last axis for 4D."""
    return int(np.prod(_open(path).shape[3:], dtype=int))


def read_grid(path: Path | str) -> tuple[tuple[int, int, int], npt.NDArray[np.float64]]:
    """Matrix size (x, y, z) and affine of a file, from its header alone."""
    image = _open(path)
    x, y, z = image.shape[:3]
    return (x, y, z), image.affine


def load_labels(path: Path | str) -> npt.NDArray[np.int16]:
    """Integer labels of a segmentation, axes turned to right, anterior, superior (RAS+)."""
    image = nib.as_closest_canonical(_open(path))
    return np.asarray(image.dataobj).astype(np.int16)


def _open(path: Path | str) -> nib.Nifti1Image:
    """Open and check a file; its header is read again only where the file may have changed."""
    try:
        return _opened(Path(path), *file_state(Path(path)))
    except OSError as error:
        raise _unreadable(path, error) from error


@lru_cache(maxsize=64)  # a scan's checks ask for each of its files several times
def _opened(path: Path, *_state: int) -> nib.Nifti1Image:
    try:
        image = nib.load(path)
    except _READ_ERRORS as error:
        raise _unreadable(path, error) from error
    if not isinstance(image, nib.Nifti1Image):
        raise DataError(f"{path} is no NIfTI file; convert it to .nii or .nii.gz")
    if image.header["sform_code"] == 0 and image.header["qform_code"] == 0:
        raise DataError(
            f"{path} has neither sform nor qform, so the direction of B0 is unknown; "
            "convert the scan again, or write its affine into the NIfTI header"
        )
    try:
        forms = [
            form
            for form in (image.get_sform(True)[0], image.get_qform(True)[0])
            if form is not None
        ]
        directions = [b0_direction(form) for form in forms]
        sizes = [*map(voxel_size_mm, forms), image.header.get_zooms()[:3]]
    except (DataError, ValueError) as error:
        raise DataError(f"{path}: {error}") from error
    if np.dot(directions[0], directions[-1]) < cos(radians(_FORM_TOLERANCE_DEG)):
        raise DataError(
            f"{path}: sform and qform disagree on the direction of B0; write the scanner's affine "
            "into both"
        )
    if not np.allclose(sizes, sizes[0], rtol=_SIZE_TOLERANCE):
        stated = " and ".join(" x ".join(f"{edge:.4g}" for edge in size) for size in sizes)
        raise DataError(
            f"{path}: sform, qform and pixdim disagree on the voxel size ({stated} mm); write the "
            "scanner's affine into all of them"
        )
    return image


def _check_gzip(path: Path) -> None:
    """Read a compressed file to its checksum, where nibabel, which needs the voxels only, stops."""
    if path.suffix == ".gz":
        with gzip.open(path) as stream:
            while stream.read(1 << 22):
                pass


def _unreadable(path: Path | str, error: Exception) -> DataError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return DataError(f"{path} cannot be read ({reason}); copy or convert the file again")


def _grid_distance_voxels(a: nib.Nifti1Image, b: nib.Nifti1Image) -> float:
    """Largest displacement of a corner voxel between two grids of one shape."""
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in a.shape[:3]])).reshape(3, -1)
    corners = np.vstack([corners, np.ones(corners.shape[1])])
    displacement_mm = np.linalg.norm(((a.affine - b.affine) @ corners)[:3], axis=0)
    return float(displacement_mm.max() / min(voxel_size_mm(a.affine)))


def _storable(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    smaller = {"b1": np.uint8, "f8": np.float32, "f2": np.float32, "i8": np.int32, "u8": np.uint32}
    target = smaller.get(f"{array.dtype.kind}{array.dtype.itemsize}")
    return array if target is None else array.astype(target)
