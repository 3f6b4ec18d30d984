"""The task of the segmentation network: images painted on the fly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F

from isdu_bids.errors import UsageError
from isdu_bids.segmentation.labels import SYNTHSEG_LABELS
from isdu_bids.segmentation.region_net import (
    DEFAULT_FEATURES,
    RegionNet,
    fold,
    load_region_net,
    save_region_net,
)
from isdu_bids.simulation.contrasts import ContrastSettings, draw_contrast
from isdu_bids.simulation.random_fields import derived_generator
from isdu_bids.training.patch_source import RandomSamples, by_number
from isdu_bids.training.task import Draw, Task, Validation

_VALIDATION_SEED = 54321

#: Images ``(batch, input, x, y, z)`` and FreeSurfer labels ``(batch, 1, x, y, z)``.
Painted = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Segmentation(Task[RegionNet, Painted]):
    """Recipe of a segmentation network; see `isdu_bids.training.task.Task`.

    Attributes
    ----------
    features
        Channels per level of the network.
    contrast
        Of the painted images.
    """

    features: tuple[int, ...] = DEFAULT_FEATURES
    contrast: ContrastSettings = field(default_factory=ContrastSettings)
    steps: int = 20_000
    learning_rate: float = 2e-3
    warmup_steps: int = 100
    decay_steps: int = 4_000
    average_decay: float = 0.998
    n_validation: int = 12

    FIXED: ClassVar[Sequence[str]] = ("features", "contrast", "seed")

    def __post_init__(self) -> None:
        super().__post_init__()
        multiple = 2 ** len(self.features)
        if any(n % multiple for n in self.contrast.size):
            raise UsageError(f"[contrast] size must be multiples of {multiple} for these features")

    @classmethod
    def sections(cls, _content: dict[str, Any], _origin: str) -> Mapping[str, type[Any]]:
        """Painted images."""
        return {"contrast": ContrastSettings}

    def new_network(self, warm_start: Path | None = None) -> RegionNet:
        """Network to start from; its weights follow from the seed or from another network.

        Raises
        ------
        UsageError
            If another network has other features or labels, or inputs that this one lacks.
        """
        torch.manual_seed(self.seed)
        inputs = 2 if self.contrast.susceptibility else 1
        network = RegionNet(SYNTHSEG_LABELS, self.features, inputs)
        if warm_start is not None:
            trained = load_region_net(warm_start)
            if (trained.labels, trained.features) != (network.labels, network.features):
                raise UsageError(
                    f"--warm-start {warm_start} has features {list(trained.features)}; "
                    f"set features to these, not {list(network.features)}"
                )
            if trained.inputs > network.inputs:
                raise UsageError(
                    f"--warm-start {warm_start} also takes susceptibility; set susceptibility = "
                    "true in [contrast]"
                )
            network.load_state_dict(trained.state_dict() | with_silent_inputs(network, trained))
        return network

    def training_batches(
        self, heads: Sequence[torch.Tensor], _scans: Path, device: str
    ) -> Draw[Painted]:
        """Images of random heads."""
        paint = partial(draw_contrast, settings=self.contrast)
        where = "cpu" if self.workers else device
        draw = RandomSamples(paint, [head.to(where) for head in heads], self.batch_size)
        if not self.workers:
            return lambda step, generator: side_by_side(draw(step, generator))
        ahead = by_number(draw, self.seed, device, self.workers)

        def next_batch(step: int, _: torch.Generator) -> Painted:
            images, labels = side_by_side(ahead(step))
            return images.to(device), labels.to(device)

        return next_batch

    def validation_batches(
        self, heads: Sequence[torch.Tensor], _scans: Path, device: str
    ) -> list[Painted]:
        """Images, one a batch."""
        generator = derived_generator(_VALIDATION_SEED, device=device)
        return [
            side_by_side(
                [draw_contrast(heads[i % len(heads)].to(device), generator, self.contrast)]
            )
            for i in range(self.n_validation)
        ]

    def loss_of(self, network: RegionNet, batch: Painted, step: int) -> torch.Tensor:
        """Loss of half of the planes."""
        image, labels = batch
        with self.autocast(image.device):
            logits = network.folded_logits(image)
        target = fold(channels(network.labels, image.device)[labels])
        # every other plane in turn: the loss, not the network, would take most of the time
        planes = slice(step % 2, None, 2)
        rows, truth = (folded[:, :, planes].permute(0, 2, 3, 4, 1) for folded in (logits, target))
        return segmentation_loss(rows.reshape(-1, len(network.labels)).float(), truth.flatten())

    def validate(self, network: RegionNet, batches: Sequence[Painted]) -> Validation:
        """Mean Dice; the log also has that of every label."""
        dice = validation_dice(network, batches)
        mean = sum(dice.values()) / len(dice)
        return Validation(
            1 - mean, {"validation_dice": mean, **{str(label): d for label, d in dice.items()}}
        )

    def save(self, path: Path, network: RegionNet, description: str) -> None:
        """Write the weights in half precision; labels and features travel with them."""
        save_region_net(path, network, description)


def side_by_side(painted: Sequence[Painted]) -> Painted:
    """Batch of images ``(input, x, y, z)`` and labels ``(x, y, z)``."""
    images, labels = zip(*painted, strict=True)
    return torch.stack(images), torch.stack(labels)[:, None]


def with_silent_inputs(network: RegionNet, trained: RegionNet) -> dict[str, torch.Tensor]:
    """First weights of a network that begins as one of fewer inputs: the others have no say."""
    name = "down.0.0.weight"
    weight = torch.zeros_like(network.state_dict()[name])
    channels = range(trained.inputs)
    for channel in channels:  # `fold` keeps the inputs of a voxel side by side
        weight[:, channel :: network.inputs] = trained.state_dict()[name][
            :, channel :: len(channels)
        ]
    return {name: weight}


def channels(labels: Sequence[int], device: torch.device) -> torch.Tensor:
    """Lookup from label to output channel."""
    table = torch.zeros(max(labels) + 1, dtype=torch.long, device=device)
    table[list(labels)] = torch.arange(len(labels), device=device)
    return table


def segmentation_loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Cross-entropy plus the mean of ``1 - Dice`` over the regions that are there.

    Parameters
    ----------
    logits
        ``(voxel, channel)``.
    target
        True channel of each voxel, ``(voxel,)``.
    """
    log_posterior = F.log_softmax(logits, 1)
    n_channels = logits.shape[1]
    log_right = log_posterior.gather(1, target[:, None])[:, 0]
    overlap = logits.new_zeros(n_channels).index_add(0, target, log_right.exp())
    true_size = torch.bincount(target, minlength=n_channels)
    size = log_posterior.exp().sum(0) + true_size
    there = true_size > 0
    dice = 2 * overlap[there] / size[there]
    return (1 - dice).mean() - log_right.mean()


def validation_dice(network: RegionNet, batches: Sequence[Painted]) -> dict[int, float]:
    """Dice of every label over all images taken together."""
    n = len(network.labels)
    counts = torch.zeros(3, n)
    for image, labels in batches:
        truth = channels(network.labels, image.device)[labels].flatten()
        found = network(image).argmax(1).flatten()
        for row, index in enumerate((found[found == truth], found, truth)):
            counts[row] += torch.bincount(index, minlength=n).cpu()
    dice = 2 * counts[0] / (counts[1] + counts[2]).clamp(min=1)
    return {label: float(d) for label, d in zip(network.labels, dice, strict=True) if label}
