"""Overlapping patches of a fixed set of simulated scans, as the paper cut them from measured ones.

Each head keeps its susceptibility in all of its scans, which differ in the direction of B0 and in
the noise. Scans are files named by what they depend on, so that a resumed run, or another run with
the same settings, reads the same data.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from isdu_bids.errors import DataError, UsageError
from isdu_bids.files import replacing
from isdu_bids.physics.dipole import dipole_kernel
from isdu_bids.physics.padding import pad_to
from isdu_bids.simulation.patches import Patch
from isdu_bids.simulation.random_fields import derived_generator
from isdu_bids.simulation.susceptibility import brain_mask
from isdu_bids.simulation.whole_head import HeadScan, crop_to_brain, draw_head, scan_head, tilted_b0

logger = logging.getLogger(__name__)

_VOXEL_SIZE_MM = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class PatchSetSettings:
    """The fixed scans and how patches are cut from them; the defaults are the paper's.

    Attributes
    ----------
    size, strides
        Edge length of a patch, and the steps between neighbours along x, y, z, in voxels.
    scans_per_head
        Directions of B0 for each head.
    max_tilt_deg
        B0 is turned by up to this angle about x and about y; the first scan is axial.
    max_noise_ppm, max_background_ppm, max_structured_ppm
        As for patches that are drawn on the fly.
    """

    size: int = 64
    strides: tuple[int, int, int] = (22, 16, 16)
    scans_per_head: int = 10
    max_tilt_deg: float = 30.0
    max_noise_ppm: float = 0.005
    max_background_ppm: float = 0.004
    max_structured_ppm: float = 0.0

    def __post_init__(self) -> None:
        if min(self.size, self.scans_per_head, *self.strides) < 1 or self.max_tilt_deg >= 90:
            raise UsageError("size, strides and scans_per_head start at 1; tilts are below 90")


class PatchSet:
    """Every patch of every scan, read from the files when asked for.

    Parameters
    ----------
    settings
        Scans and patches.
    heads
        Integer label maps ``(x, y, z)`` on 1 mm grids; scans cover the brain's box.
    folder
        Of the scans; those that are missing are simulated.
    seed
        Of the simulation.
    device
        Where scans are simulated and patches are put.
    """

    def __init__(
        self,
        settings: PatchSetSettings,
        heads: Sequence[torch.Tensor],
        folder: Path,
        *,
        seed: int,
        device: str = "cpu",
    ) -> None:
        self.size, self.device = settings.size, device
        self.scans = [
            _OpenScan(path, settings.size, device)
            for labels in heads
            for path in scan_files(settings, labels, folder, seed, device)
        ]
        self.places = [
            (scan, start)
            for scan in self.scans
            for start in patch_starts(scan.shape, settings.size, settings.strides)
        ]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Patch:
        """Cut one patch."""
        scan, start = self.places[index]
        return scan.patch(start, self.size, self.device)


def patch_starts(
    shape: Sequence[int], size: int, strides: Sequence[int]
) -> list[tuple[int, int, int]]:
    """First voxels of all patches that fit into a volume.

    Examples
    --------
    >>> len(patch_starts((176, 176, 160), 64, (22, 16, 16)))  # the paper's 6 x 8 x 7
    336
    """
    x, y, z = (range(0, n - size + 1, stride) for n, stride in zip(shape, strides, strict=True))
    return list(product(x, y, z))


class _OpenScan:
    """A scan on disk: patches are read without reading the rest."""

    def __init__(self, path: Path, size: int, device: str) -> None:
        self.archive = safe_open(path, framework="pt")
        geometry = json.loads(self.archive.metadata()["geometry"])
        self.voxel_size_mm, self.b0_direction = map(tuple, geometry)
        self.shape = tuple(self.archive.get_slice("mask").get_shape())
        self.kernel = dipole_kernel(
            (size,) * 3, self.voxel_size_mm, self.b0_direction, device=device
        )

    def patch(self, start: Sequence[int], size: int, device: str) -> Patch:
        x, y, z = (slice(first, first + size) for first in start)
        field, mask, chi = (
            self.archive.get_slice(name)[x, y, z].float()[None].to(device)
            for name in ("field_ppm", "mask", "chi_ppm")
        )
        return Patch(field, mask, chi, self.kernel, self.voxel_size_mm, self.b0_direction)


def scan_files(
    settings: PatchSetSettings, labels: torch.Tensor, folder: Path, seed: int, device: str
) -> list[Path]:
    """Files of a head's scans; simulates those that are not there yet."""
    content = hashlib.sha256(labels.cpu().numpy().tobytes()).hexdigest()
    # random numbers differ between kinds of device, and so do scans
    head = (content, seed, torch.device(device).type, settings.size)
    errors = {
        name: getattr(settings, name)
        for name in ("max_noise_ppm", "max_background_ppm", "max_structured_ppm")
    }
    keys = [(*head, settings.max_tilt_deg, errors, i) for i in range(settings.scans_per_head)]
    names = [f"scan-{hashlib.sha256(repr(key).encode()).hexdigest()[:16]}" for key in keys]
    paths = [folder / f"{name}.safetensors" for name in names]
    if all(path.exists() for path in paths):
        return paths
    if not brain_mask(labels).any():
        raise DataError("a label map holds no brain labels (FreeSurfer numbers are expected)")
    folder.mkdir(parents=True, exist_ok=True)
    cropped = crop_to_brain(labels.to(device))
    cropped = pad_to(cropped, [max(n, settings.size) for n in cropped.shape])
    chi, mask = draw_head(cropped, _VOXEL_SIZE_MM, derived_generator(*head, device=device))
    for i, (key, path) in enumerate(zip(keys, paths, strict=True)):
        generator = derived_generator(*key, device=device)
        direction = tilted_b0(settings.max_tilt_deg if i else 0.0, generator)
        if not path.exists():
            _save(path, scan_head(chi, mask, _VOXEL_SIZE_MM, direction, generator, **errors))
            logger.info("simulated %s", path)
    return paths


def _save(path: Path, scan: HeadScan) -> None:
    tensors = {
        "field_ppm": scan.field_ppm.cpu(),
        "chi_ppm": scan.chi_ppm.cpu(),
        "mask": scan.mask.to("cpu", torch.uint8),
    }
    geometry = json.dumps([scan.voxel_size_mm, scan.b0_direction])
    with replacing(path) as partial:  # a scan that was not finished must not look like one
        save_file({n: t.contiguous() for n, t in tensors.items()}, partial, {"geometry": geometry})
