"""Patches of simulated heads that went through background removal, kept on disk."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from functools import partial
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
from isdu_bids.training.ahead import made_side_by_side

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
    workers: int = 0,
) -> list[Path]:
    """Files of processed heads, each label map in turn; simulates those that are not there yet.

    With ``workers``, so many processes simulate side by side.
    """
    settings = settings or ProcessedHeadSettings()
    heads = [head.cpu() for head in heads]
    digests = [hashlib.sha256(head.numpy().tobytes()).hexdigest() for head in heads]
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for i in range(n_files):
        key = repr((digests[i % len(heads)], seed, i, settings))
        digest = hashlib.sha256(key.encode()).hexdigest()[:16]
        files.append(folder / f"processed-{digest}.safetensors")
    missing = [i for i, path in enumerate(files) if not path.exists()]
    make = partial(_write_processed_head, heads=heads, files=files, seed=seed, settings=settings)
    for path in made_side_by_side(make, missing, min(workers, len(missing))):
        logger.info("simulated %s (of %d)", path, n_files)
    return files


def _write_processed_head(
    number: int,
    heads: Sequence[torch.Tensor],
    files: Sequence[Path],
    seed: int,
    settings: ProcessedHeadSettings,
) -> Path:
    generator = derived_generator(seed, "processed", number)
    head = process_head(heads[number % len(heads)], generator, settings)
    geometry = json.dumps([head.voxel_size_mm, head.b0_direction])
    with replacing(files[number]) as unfinished:  # which must not look like a file of a head
        tensors = {name: getattr(head, name) for name in _VOLUMES}
        save_file(tensors, unfinished, {"geometry": geometry})
    return files[number]


def _random_index(n: int, generator: torch.Generator) -> int:
    return int(torch.randint(n, (), generator=generator, device=generator.device))
