"""Where the patches of each training step come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import torch

from isdu_bids.errors import DataError, UsageError
from isdu_bids.simulation.patches import Patch, PatchSettings, draw_patch
from isdu_bids.simulation.random_fields import derived_generator
from isdu_bids.training.config import TrainingConfig
from isdu_bids.training.distributed import gathered, n_processes, rank
from isdu_bids.training.patch_set import PatchSet, PatchSetSettings, scan_files

_N_VALIDATION_PATCHES = 24
_VALIDATION_SEED = 12345


class PatchSource(Protocol):
    """Patches by step."""

    def draw(self, step: int, generator: torch.Generator) -> list[Patch]:
        """Patches of one batch."""


class RandomPatches:
    """Patches simulated on the fly: none is ever seen twice."""

    def __init__(
        self, settings: PatchSettings, heads: Sequence[torch.Tensor], batch_size: int
    ) -> None:
        self.settings, self.heads, self.batch_size = settings, heads, batch_size

    def draw(self, step: int, generator: torch.Generator) -> list[Patch]:
        """Patches of random heads; ``step`` does not matter."""
        picks = torch.randint(
            len(self.heads), (self.batch_size,), generator=generator, device=generator.device
        )
        return [draw_patch(self.heads[int(pick)], generator, self.settings) for pick in picks]


class EpochsOfPatches:
    """Epochs over a fixed set: shuffled anew each time, without replacement inside an epoch.

    Which patches a step sees follows from seed and step alone, so resuming needs no state.

    Parameters
    ----------
    patches
        The fixed set.
    batch_size
        Patches per batch; an epoch leaves out those that do not fill one.
    subset_batches
        Batches per epoch (the paper's random subset n); 0 visits all.
    seed
        Of the order.
    """

    def __init__(self, patches: PatchSet, batch_size: int, subset_batches: int, seed: int) -> None:
        available = len(patches) // batch_size
        if available < max(1, subset_batches):
            raise UsageError(
                f"subset_batches = {subset_batches}, but the {len(patches)} patches make "
                f"{available} batches of {batch_size}; lower it or simulate more scans"
            )
        self.patches, self.batch_size, self.seed = patches, batch_size, seed
        self.batches_per_epoch = subset_batches or available

    def indices(self, step: int) -> list[int]:
        """Patches of the batch at a step."""
        epoch, place = divmod(step, self.batches_per_epoch)
        order = torch.randperm(
            len(self.patches), generator=derived_generator(self.seed, "epoch", epoch)
        )
        return order[place * self.batch_size : (place + 1) * self.batch_size].tolist()

    def draw(self, step: int, generator: torch.Generator) -> list[Patch]:
        """Patches of the batch at a step; ``generator`` is not used."""
        return [self.patches[index] for index in self.indices(step)]


def training_patches(
    config: TrainingConfig, heads: Sequence[torch.Tensor], scans: Path, device: str
) -> PatchSource:
    """Source that a configuration asks for; ``scans`` is where a fixed set lies."""
    if isinstance(config.patches, PatchSetSettings):
        for labels in heads[rank() :: n_processes()]:  # processes share out the simulation
            scan_files(config.patches, labels, scans, config.seed, device)
        gathered(None)  # and wait for each other
        patches = PatchSet(config.patches, heads, scans, seed=config.seed, device=device)
        return EpochsOfPatches(patches, config.batch_size, config.subset_batches, config.seed)
    return RandomPatches(config.patches, [head.to(device) for head in heads], config.batch_size)


def validation_patches(
    config: TrainingConfig, heads: Sequence[torch.Tensor], scans: Path, device: str
) -> list[Patch]:
    """Two dozen patches of other heads, the same in every validation of every run."""
    if isinstance(config.patches, PatchSetSettings):
        two = replace(config.patches, scans_per_head=min(2, config.patches.scans_per_head))
        return _mostly_brain(PatchSet(two, heads, scans, seed=_VALIDATION_SEED, device=device))
    generator = torch.Generator(device).manual_seed(_VALIDATION_SEED)
    return [
        draw_patch(heads[i % len(heads)].to(device), generator, config.patches)
        for i in range(_N_VALIDATION_PATCHES)
    ]


def _mostly_brain(patches: PatchSet) -> list[Patch]:
    """Random patches among those that are mostly brain."""
    order = torch.randperm(len(patches), generator=derived_generator(_VALIDATION_SEED))
    chosen: list[Patch] = []
    for index in order.tolist():
        patch = patches[index]
        if patch.mask.mean() > 0.5:
            chosen.append(patch)
        if len(chosen) == _N_VALIDATION_PATCHES:
            break
    if not chosen:
        raise DataError("no validation patch lies in the brain; give other validation heads")
    return chosen
