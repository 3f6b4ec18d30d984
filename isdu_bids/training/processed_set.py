"""Patches of simulated heads that went through background removal, kept on disk."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from isdu_bids.files import replacing
from isdu_bids.physics.dipole import dipole_kernel
from isdu_bids.physics.padding import pad_to
from isdu_bids.simulation.patches import Patch
from isdu_bids.simulation.processed_heads import ProcessedHeadSettings, process_head
from isdu_bids.simulation.random_fields import derived_generator
from isdu_bids.simulation.symmetries import SYMMETRIES, turned

logger = logging.getLogger(__name__)

_VOLUMES = ("field_ppm", "mask", "chi_ppm", "field_sd_ppm")
#: Least share of the mask in a patch; emptier ones are drawn again, a few times.
_LEAST_INSIDE, _TRIES = 0.3, 10


class ProcessedPatches:
    """Batches of patches cut at random places out of processed heads, mirrored at random.

    Parameters
    ----------
    files
        From `processed_files`.
    size
        Edge length of a patch in voxels.
    batch_size
        Patches of a batch.
    """

    def __init__(self, files: Sequence[Path], size: int, batch_size: int) -> None:
        self.files, self.size, self.batch_size = files, size, batch_size

    def __call__(self, _: int, generator: torch.Generator) -> list[Patch]:
        """Draw one batch; the step does not matter."""
        return [self._patch(generator) for _ in range(self.batch_size)]

    def _patch(self, generator: torch.Generator) -> Patch:
        path = self.files[_random_index(len(self.files), generator)]
        with safe_open(path, framework="pt") as archive:
            voxel_size, direction = map(tuple, json.loads(archive.metadata()["geometry"]))
            shape = archive.get_slice("mask").get_shape()
            for _ in range(_TRIES):
                starts = [_random_index(max(1, n - self.size + 1), generator) for n in shape]
                x, y, z = (slice(start, start + self.size) for start in starts)
                if archive.get_slice("mask")[x, y, z].mean() >= _LEAST_INSIDE:
                    break
            field, mask, chi, field_sd = (
                pad_to(archive.get_slice(name)[x, y, z], (self.size,) * 3)[None].to(
                    generator.device
                )
                for name in _VOLUMES
            )
        kernel = dipole_kernel(mask.shape[1:], voxel_size, direction, device=mask.device)
        patch = Patch(field, mask, chi, kernel, voxel_size, direction, field_sd)
        return turned(patch, SYMMETRIES[_random_index(len(SYMMETRIES), generator)])


def processed_files(
    heads: Sequence[torch.Tensor],
    folder: Path,
    n_files: int,
    seed: int,
    settings: ProcessedHeadSettings | None = None,
) -> list[Path]:
    """Files of processed heads, each label map in turn; simulates those that are not there yet."""
    settings = settings or ProcessedHeadSettings()
    digests = [hashlib.sha256(head.cpu().numpy().tobytes()).hexdigest() for head in heads]
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for i in range(n_files):
        key = repr((digests[i % len(heads)], seed, i, settings))
        path = folder / f"processed-{hashlib.sha256(key.encode()).hexdigest()[:16]}.safetensors"
        files.append(path)
        if path.exists():
            continue
        generator = derived_generator(seed, "processed", i)
        head = process_head(heads[i % len(heads)].cpu(), generator, settings)
        geometry = json.dumps([head.voxel_size_mm, head.b0_direction])
        with replacing(path) as partial:  # one that was not finished must not look like one
            tensors = {name: getattr(head, name) for name in _VOLUMES}
            save_file(tensors, partial, {"geometry": geometry})
        logger.info("simulated %s (%d of %d)", path, i + 1, n_files)
    return files


def _random_index(n: int, generator: torch.Generator) -> int:
    return int(torch.randint(n, (), generator=generator, device=generator.device))
