"""Simulated heads for the background field benchmark: true total and local field in ppm.

A head is built from a whole-head label map (``synthseg_label_maps`` below the folder named by
``ISDU_BIDS_TEST_DATA``) at its own 1 mm. Air and bone make the background, the brain with smooth
texture, nuclei and veins makes the local field. Heads are cached as ``.npz`` next to nothing else:
give a scratch folder in ``BACKGROUND_CACHE``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage

from isdu_bids.geometry import Triple, b0_direction, unit_vector, voxel_size_mm
from isdu_bids.physics.dipole import forward_field

CACHE = Path(os.environ.get("BACKGROUND_CACHE", "background_cache"))

#: Susceptibility (ppm, relative to water): mean, spread between heads.
HEAD_PPM = {0: 9.4, 502: 0.0, 507: 0.0, 509: 0.0, 511: 0.65, 514: 0.3, 515: -2.1, 516: -2.1}
BRAIN_PPM = {
    2: -0.03, 3: 0.01, 4: 0.01, 5: 0.01, 7: -0.03, 8: 0.01, 10: 0.01, 11: 0.045, 12: 0.05,
    13: 0.135, 14: 0.01, 15: 0.01, 16: -0.01, 17: -0.005, 18: -0.005, 24: 0.01, 26: 0.02,
    28: 0.04,
}  # fmt: skip
RIGHT_TO_LEFT = {41: 2, 42: 3, 43: 4, 44: 5, 46: 7, 47: 8, 49: 10, 50: 11, 51: 12, 52: 13, 53: 17}
RIGHT_TO_LEFT |= {54: 18, 58: 26, 60: 28}


@dataclass(frozen=True)
class Head:
    """Total field, the truth below it, and where."""

    name: str
    total_ppm: torch.Tensor
    local_ppm: torch.Tensor
    mask: torch.Tensor
    voxel_size_mm: Triple
    b0_direction: Triple


def data_folder() -> Path:
    return Path(os.environ["ISDU_BIDS_TEST_DATA"])


def simulated(number: int, *, voxel_mm: int = 2, tilt_deg: float = 0.0) -> Head:
    """Head from label map ``number``, made at 1 mm and averaged to cubes of ``voxel_mm``."""
    cached = CACHE / f"head-{number:02d}_voxel-{voxel_mm}_tilt-{tilt_deg:g}.npz"
    path = data_folder() / "synthseg_label_maps" / f"training_seg_{number:02d}.nii.gz"
    image = nib.load(path)
    x, y, z = b0_direction(image.affine)
    tilt = np.deg2rad(tilt_deg)
    direction = unit_vector([x + np.tan(tilt) * 0.6, y, z + np.tan(tilt) * 0.8])
    size = (float(voxel_mm),) * 3
    if not cached.exists():
        labels = np.asarray(image.dataobj).astype(np.int16)
        labels = labels[ndimage.find_objects((labels > 0).astype(np.int8))[0]]
        CACHE.mkdir(parents=True, exist_ok=True)
        np.savez(cached, **_fields(labels, direction, voxel_mm, np.random.default_rng(number)))
    with np.load(cached) as saved:
        total, local, mask = (torch.from_numpy(saved[key]) for key in ("total", "local", "mask"))
    return Head(f"map {number:02d}", total, local, mask, size, direction)


def published(subject: str) -> Head:
    """Load a head of ``bids_simulated``, with its own forward model."""
    folder = data_folder() / "bids_simulated" / "derivatives" / "qsm-forward" / subject / "anat"

    def volume(name: str) -> torch.Tensor:
        return torch.from_numpy(
            nib.load(folder / f"{subject}_{name}.nii.gz").get_fdata(dtype=np.float32)
        )

    affine = nib.load(folder / f"{subject}_desc-brain_mask.nii.gz").affine
    return Head(
        subject,
        volume("desc-shimmed_fieldmap"),
        volume("fieldmap-local"),
        volume("desc-brain_mask") > 0,
        voxel_size_mm(affine),
        b0_direction(affine),
    )


def _fields(
    labels: np.ndarray, direction: Triple, voxel_mm: int, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    for right, left in RIGHT_TO_LEFT.items():
        labels[labels == right] = left
    head = np.vectorize(lambda label: HEAD_PPM.get(label, 0.0), otypes=[np.float32])(labels)
    brain = (labels > 0) & (labels < 500)
    brain = ndimage.binary_fill_holes(ndimage.binary_opening(brain, iterations=2))
    head[brain] = 0
    local = np.zeros(labels.shape, np.float32)
    for label, mean in BRAIN_PPM.items():
        local[labels == label] = mean + rng.normal(0, 0.008)
    local += sum(0.01 * _texture(labels.shape, width, rng) for width in (1.5, 3.0, 6.0))
    veins = np.abs(_texture(labels.shape, 2.5, rng)) + np.abs(_texture(labels.shape, 2.5, rng))
    local[veins < 0.12] += 0.15
    local[~brain] = 0
    # Susceptibility is relative to the air around, so that the volume may end at the head.
    background = _field(head - np.float32(HEAD_PPM[0]), direction)
    inside = _field(local, direction)
    volumes = {"total": background + inside, "local": inside, "mask": brain.astype(np.float32)}
    small = {key: _averaged(volume, voxel_mm) for key, volume in volumes.items()}
    mask = small["mask"] > 0.75
    pieces, count = ndimage.label(mask)
    mask = pieces == 1 + np.argmax(ndimage.sum(mask, pieces, range(1, count + 1)))
    return {
        "total": _shimmed(small["total"], mask),
        "local": small["local"],
        "mask": mask,
    }


def _field(chi_ppm: np.ndarray, direction: Triple) -> np.ndarray:
    return forward_field(torch.from_numpy(chi_ppm), (1.0, 1.0, 1.0), direction).numpy()


def _texture(shape: tuple[int, ...], width: float, rng: np.random.Generator) -> np.ndarray:
    noise = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), width)
    return noise / noise.std()


def _averaged(volume: np.ndarray, voxel_mm: int) -> np.ndarray:
    return F.avg_pool3d(torch.from_numpy(volume)[None], voxel_mm)[0].numpy()


def _shimmed(field: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Field less its best linear fit in the mask, as a first-order shim leaves it."""
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in field.shape), indexing="ij")
    terms = np.stack([np.ones(field.shape), *axes], axis=-1)
    shim = np.linalg.lstsq(terms[mask], field[mask].astype(np.float64), rcond=None)[0]
    return (field - terms @ shim).astype(np.float32)
