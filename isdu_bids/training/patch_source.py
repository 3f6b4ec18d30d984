"""Where the samples of each training step come from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch

from isdu_bids.errors import DataError, UsageError
from isdu_bids.simulation.patches import Patch
from isdu_bids.simulation.random_fields import derived_generator, happens
from isdu_bids.simulation.symmetries import SYMMETRIES, turned
from isdu_bids.training.ahead import MadeAhead
from isdu_bids.training.distributed import n_processes, rank
from isdu_bids.training.patch_set import PatchSet
from isdu_bids.training.task import Draw

Sample = TypeVar("Sample")

#: Seed of what validations see, in every run.
VALIDATION_SEED = 12345


class RandomSamples(Generic[Sample]):
    """Samples drawn from random heads on the fly: none is ever seen twice.

    Parameters
    ----------
    draw
        Makes a sample of a label map.
    heads
        Label maps.
    batch_size
        Samples of a batch.
    """

    def __init__(
        self,
        draw: Callable[[torch.Tensor, torch.Generator], Sample],
        heads: Sequence[torch.Tensor],
        batch_size: int,
    ) -> None:
        self.draw, self.heads, self.batch_size = draw, heads, batch_size

    def __call__(self, _: int, generator: torch.Generator) -> list[Sample]:
        """Draw one batch; the step does not matter."""
        picks = torch.randint(
            len(self.heads), (self.batch_size,), generator=generator, device=generator.device
        )
        return [self.draw(self.heads[int(pick)], generator) for pick in picks]


class ReusedPatches:
    """Batches that come again a few times, each time turned by another symmetry.

    A pool of batches is made, one at a step, and gone through again and again before the next one
    is made. Everything follows from seed and step, so resuming needs no state; it makes at most the
    batches of one pool anew.

    Parameters
    ----------
    fresh
        Makes the batch of a number, see `NumberedBatches`.
    reuse
        How often each is seen.
    seed
        Of the symmetries.
    """

    POOL = 8

    def __init__(self, fresh: Callable[[int], list[Patch]], reuse: int, seed: int) -> None:
        self.fresh, self.reuse, self.seed = fresh, reuse, seed
        self.pool: dict[int, list[Patch]] = {}

    def __call__(self, step: int, generator: torch.Generator) -> list[Patch]:
        """Patches of the batch at a step; of ``generator``, only the device matters."""
        n_pool, place = divmod(step, self.reuse * self.POOL)
        turn, member = divmod(place, self.POOL)
        number = n_pool * self.POOL + member
        if number not in self.pool:
            self.pool = {n: batch for n, batch in self.pool.items() if n // self.POOL == n_pool}
            self.pool[number] = [patch.to(generator.device) for patch in self.fresh(number)]
        order = torch.randperm(
            len(SYMMETRIES),
            generator=derived_generator(self.seed, "symmetries", rank(), n_pool, member),
        )
        return [turned(patch, SYMMETRIES[int(order[turn])]) for patch in self.pool[number]]


@dataclass(frozen=True)
class NumberedBatches(Generic[Sample]):
    """Batches 0, 1, 2, ... of a source, each from a generator of its own.

    Attributes
    ----------
    source
        Makes a batch.
    seed, process
        Of which the generators follow, with the number of the batch.
    device
        Where the batches are made.
    """

    source: Callable[[int, torch.Generator], list[Sample]]
    seed: int
    process: int
    device: str

    def __call__(self, number: int) -> list[Sample]:
        """Batch of a number."""
        n_pool, member = divmod(number, ReusedPatches.POOL)
        own = derived_generator(self.seed, "pool", self.process, n_pool, member, device=self.device)
        return self.source(number, own)


def by_number(
    source: RandomSamples[Sample], seed: int, device: str, workers: int
) -> Callable[[int], list[Sample]]:
    """Batches of a source by number, made on a device, or ahead by other processes."""
    if not workers:
        return NumberedBatches(source, seed, rank(), device)
    return MadeAhead(NumberedBatches(source, seed, rank(), "cpu"), workers)


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

    def indices(self, turn: int) -> list[int]:
        """Patches of the batch at a turn."""
        epoch, place = divmod(turn, self.batches_per_epoch)
        order = torch.randperm(
            len(self.patches), generator=derived_generator(self.seed, "epoch", epoch)
        )
        return order[place * self.batch_size : (place + 1) * self.batch_size].tolist()

    def __call__(self, step: int, _: torch.Generator) -> list[Patch]:
        """Patches of the batch at a step; processes share out the batches of an epoch."""
        turn = step * n_processes() + rank()
        return [self.patches[index] for index in self.indices(turn)]


class Mixed(Generic[Sample]):
    """Batches of one source, and a fraction of another's."""

    def __init__(self, usual: Draw[Sample], other: Draw[Sample], fraction: float) -> None:
        self.usual, self.other, self.fraction = usual, other, fraction

    def __call__(self, step: int, generator: torch.Generator) -> Sample:
        """Batch of either source, at random."""
        source = self.other if happens(self.fraction, generator) else self.usual
        return source(step, generator)


def mostly_brain(patches: PatchSet, n_patches: int) -> list[Patch]:
    """Random patches among those that are mostly brain.

    Raises
    ------
    DataError
        If there are none.
    """
    order = torch.randperm(len(patches), generator=derived_generator(VALIDATION_SEED))
    chosen: list[Patch] = []
    for index in order.tolist():
        patch = patches[index]
        if patch.mask.mean() > 0.5:
            chosen.append(patch)
        if len(chosen) == n_patches:
            break
    if not chosen:
        raise DataError("no validation patch lies in the brain; give other validation heads")
    return chosen
