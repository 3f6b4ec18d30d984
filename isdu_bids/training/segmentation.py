"""The training loop of the segmentation network: images painted on the fly, resumable."""

from __future__ import annotations

import csv
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from isdu_bids.errors import UsageError
from isdu_bids.segmentation.labels import SYNTHSEG_LABELS
from isdu_bids.segmentation.region_net import DEFAULT_FEATURES, RegionNet, fold, save_region_net
from isdu_bids.simulation.contrasts import ContrastSettings, draw_contrast
from isdu_bids.simulation.random_fields import derived_generator
from isdu_bids.training.allocator import keep_freed_memory
from isdu_bids.training.config import SCHEDULES, build
from isdu_bids.training.distributed import is_first
from isdu_bids.training.recipe import learning_rate
from isdu_bids.training.state import TrainingState
from isdu_bids.training.trainer import LOG_FILE, STATE_FILE, WEIGHTS_FILE

logger = logging.getLogger(__name__)

_N_VALIDATION_IMAGES = 12
_VALIDATION_SEED = 54321


@dataclass(frozen=True)
class SegmentationConfig:
    """Recipe of a segmentation network; see `isdu_bids.training.config.TrainingConfig`.

    Attributes
    ----------
    features
        Channels per level of the network.
    contrast
        Of the painted images.
    schedule, steps, learning_rate, warmup_steps, decay_steps, average_decay, seed, save_every
        As for the unrolled networks.
    """

    features: tuple[int, ...] = DEFAULT_FEATURES
    contrast: ContrastSettings = field(default_factory=ContrastSettings)
    steps: int = 20_000
    learning_rate: float = 2e-3
    schedule: str = "trapezoid"
    warmup_steps: int = 100
    decay_steps: int = 4_000
    average_decay: float = 0.998
    seed: int = 0
    save_every: int = 250

    @property
    def identity(self) -> dict[str, Any]:
        """What may not change while a run goes on."""
        return {name: getattr(self, name) for name in ("features", "contrast", "seed")}

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise UsageError(
                f"schedule = {self.schedule!r} is unknown; known are {', '.join(SCHEDULES)}"
            )
        if self.save_every < 1 or not 0 <= self.decay_steps < self.steps:
            raise UsageError("save_every must be at least 1, and decay_steps less than steps")
        multiple = 2 ** len(self.features)
        if any(n % multiple for n in self.contrast.size):
            raise UsageError(f"[contrast] size must be multiples of {multiple} for these features")


def parse_segmentation_config(content: Mapping[str, Any], origin: str) -> SegmentationConfig:
    """Build a configuration from the content of a TOML file; ``origin`` is named in errors."""
    content = dict(content)
    contrast = build(ContrastSettings, content.pop("contrast", {}), f"{origin}: [contrast]")
    recipe: SegmentationConfig = build(
        SegmentationConfig, {**content, "contrast": contrast}, origin
    )
    return recipe


def train_segmentation(
    config: SegmentationConfig,
    heads: Sequence[torch.Tensor],
    validation_heads: Sequence[torch.Tensor],
    folder: Path,
    *,
    device: str = "cpu",
) -> Path:
    """Train on images painted from ``heads``; continue where ``folder`` was left.

    Parameters
    ----------
    config
        The recipe.
    heads, validation_heads
        Integer label maps ``(x, y, z)``, RAS axes, 1 mm.
    folder
        Receives weights, state and log.
    device
        Torch device of network and painting.

    Returns
    -------
    Path
        The weights file.
    """
    keep_freed_memory()
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.seed)
    network = RegionNet(SYNTHSEG_LABELS, config.features).to(device)
    network = network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    state = TrainingState.new(config, network, device)
    if (folder / STATE_FILE).exists():
        state.restore(folder / STATE_FILE, config)
    channel_of = channels(network.labels, device)
    validation = validation_images(config, validation_heads, device) if is_first() else []
    while state.step < config.steps:
        losses, start = [], time.perf_counter()
        for _ in range(min(config.save_every, config.steps - state.step)):
            pick = torch.randint(len(heads), (), generator=state.generator, device=device)
            image, labels = draw_contrast(heads[int(pick)], state.generator, config.contrast)
            losses.append(training_step(state, config, image, channel_of[labels]))
        seconds = (time.perf_counter() - start) / len(losses)
        if is_first():
            dice = validation_dice(state.averaged, validation)
            save_region_net(
                folder / WEIGHTS_FILE, state.averaged, f"{state.step} steps, seed {config.seed}"
            )
            _log(folder, state.step, sum(losses) / len(losses), dice, seconds)
        state.save(folder / STATE_FILE, config)
    return folder / WEIGHTS_FILE


def channels(labels: Sequence[int], device: str) -> torch.Tensor:
    """Lookup from label to output channel."""
    table = torch.zeros(max(labels) + 1, dtype=torch.long, device=device)
    table[list(labels)] = torch.arange(len(labels), device=device)
    return table


def training_step(
    state: TrainingState[RegionNet],
    config: SegmentationConfig,
    image: torch.Tensor,
    target: torch.Tensor,
) -> float:
    """One Adam step; returns the loss."""
    # the last steps see the statistics that inference will use, not those of one image
    state.network.train(state.step < config.steps - config.decay_steps)
    state.set_learning_rate(learning_rate(config, state.step))
    with torch.autocast(image.device.type, torch.bfloat16):
        logits = state.network.folded_logits(image[None, None])
    # every other plane in turn: the loss, not the network, would take most of the time
    planes = slice(state.step % 2, None, 2)
    rows, truth = (
        folded[:, :, planes].permute(0, 2, 3, 4, 1) for folded in (logits, fold(target[None, None]))
    )
    loss = segmentation_loss(rows.reshape(-1, len(state.network.labels)).float(), truth.flatten())
    return state.descend(loss, gradient_clip=1.0)


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


def validation_images(
    config: SegmentationConfig, heads: Sequence[torch.Tensor], device: str
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Images and labels that are the same for every run of these settings."""
    generator = derived_generator(_VALIDATION_SEED, device=device)
    return [
        draw_contrast(heads[i % len(heads)], generator, config.contrast)
        for i in range(_N_VALIDATION_IMAGES)
    ]


@torch.no_grad()
def validation_dice(
    network: RegionNet, images: Sequence[tuple[torch.Tensor, torch.Tensor]]
) -> dict[int, float]:
    """Dice of every label over all images taken together."""
    network.eval()
    n = len(network.labels)
    counts = torch.zeros(3, n)
    for image, labels in images:
        truth = channels(network.labels, str(image.device))[labels].flatten()
        found = network(image[None, None]).argmax(1).flatten()
        for row, index in enumerate((found[found == truth], found, truth)):
            counts[row] += torch.bincount(index, minlength=n).cpu()
    dice = 2 * counts[0] / (counts[1] + counts[2]).clamp(min=1)
    return {label: float(d) for label, d in zip(network.labels, dice, strict=True) if label}


def _log(folder: Path, step: int, loss: float, dice: Mapping[int, float], seconds: float) -> None:
    mean = sum(dice.values()) / len(dice)
    logger.info("step %d: loss %.4f, validation Dice %.3f; %.2f s/step", step, loss, mean, seconds)
    path = folder / LOG_FILE
    is_new = not path.exists()
    with path.open("a", newline="") as stream:
        writer = csv.writer(stream, delimiter="\t")
        if is_new:
            writer.writerow(["step", "loss", "validation_dice", *dice])
        writer.writerow([step, f"{loss:.5f}", *(f"{d:.3f}" for d in (mean, *dice.values()))])
