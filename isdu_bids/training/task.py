"""What a training run needs to know of the network that it trains."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import cos, pi
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import torch

from isdu_bids.errors import UsageError
from isdu_bids.physics.device import cpu_has_bfloat16

SCHEDULES = ("trapezoid", "cosine")

Network = TypeVar("Network", bound=torch.nn.Module)
#: What a step or a validation sees.
Batch = TypeVar("Batch")
#: The batch of a step; ``generator`` is the source of every random number.
Draw = Callable[[int, torch.Generator], Batch]


@dataclass(frozen=True)
class Validation:
    """How good a network is: ``score`` (lower is better), and columns of the log."""

    score: float
    columns: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Task(ABC, Generic[Network, Batch]):
    """A recipe: the keys that all have in common, and what each kind of network does its own way.

    Attributes
    ----------
    steps, batch_size, learning_rate
        Adam steps, samples per step, peak learning rate.
    schedule
        ``trapezoid``: the learning rate rises linearly, stays, and falls linearly to zero over the
        last ``decay_steps``; ``cosine``: it rises linearly, then falls along half a cosine.
    warmup_steps, decay_steps
        Of the schedule. The last ``decay_steps`` also train with the batch norm's running
        statistics and without dropout, as inference does.
    gradient_clip
        Largest gradient norm.
    average_decay
        Of the exponential moving average of the weights, which is what is validated and saved; 0
        saves the last weights.
    half_precision
        Convolutions in bfloat16 (FFTs, losses and weights stay float32), except on processors
        without instructions for it.
    workers
        Processes that make samples drawn on the fly while the network is trained; 0 makes them on
        its device in between, which keeps a GPU waiting.
    save_every
        Steps between checkpoints and validations.
    n_validation
        Samples of a validation.
    patience
        Validations without a better one after which training stops; 0 never stops early.
    seed
        Of everything.
    """

    steps: int = 10_000
    batch_size: int = 1
    learning_rate: float = 1.5e-3
    schedule: str = "trapezoid"
    warmup_steps: int = 200
    decay_steps: int = 1_000
    gradient_clip: float = 1.0
    average_decay: float = 0.0
    half_precision: bool = True
    workers: int = 0
    save_every: int = 250
    n_validation: int = 24
    patience: int = 0
    seed: int = 0

    #: Keys that may not change while a run goes on.
    FIXED: ClassVar[Sequence[str]] = ("seed",)

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise UsageError(
                f"schedule = {self.schedule!r} is unknown; known are {', '.join(SCHEDULES)}"
            )
        positive, not_negative = (
            ("steps", "batch_size", "save_every", "n_validation"),
            ("warmup_steps", "decay_steps", "patience", "workers"),
        )
        for name in (*positive, *not_negative):
            least = int(name in positive)
            if (value := getattr(self, name)) < least:
                raise UsageError(f"{name} = {value}: it must be at least {least}")

    @property
    def identity(self) -> dict[str, Any]:
        """What may not change while a run goes on; dataclasses for sections."""
        return {name: getattr(self, name) for name in self.FIXED}

    @property
    def draws_per_step(self) -> float:
        """Batches that are really made for each step; fewer than one where they are reused."""
        return 1.0

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        rise = min(1.0, (step + 1) / max(1, self.warmup_steps))
        if self.schedule == "cosine":
            return self.learning_rate * rise * (1 + cos(pi * step / self.steps)) / 2
        fall = (self.steps - step) / max(1, self.decay_steps)
        return self.learning_rate * min(rise, fall)

    def autocast(self, device: torch.device) -> torch.autocast:
        """Context in which networks run in training."""
        usable = device.type != "cpu" or cpu_has_bfloat16()
        return torch.autocast(device.type, torch.bfloat16, enabled=self.half_precision and usable)

    @classmethod
    @abstractmethod
    def sections(cls, content: dict[str, Any], origin: str) -> Mapping[str, type[Any]]:
        """Kinds of the recipe's sections; takes the keys that decide about them out of it."""

    @abstractmethod
    def new_network(self, warm_start: Path | None = None) -> Network:
        """Network to start from, its weights random or from another network."""

    def parameter_groups(self, network: Network) -> list[dict[str, Any]]:
        """Parameters (``params``) and the ``factor`` of their learning rate."""
        return [{"params": list(network.parameters()), "factor": 1.0}]

    @abstractmethod
    def training_batches(
        self, heads: Sequence[torch.Tensor], scans: Path, device: str
    ) -> Draw[Batch]:
        """Where batches come from; ``scans`` is the folder of whatever is simulated once."""

    @abstractmethod
    def validation_batches(
        self, heads: Sequence[torch.Tensor], scans: Path, device: str
    ) -> list[Batch]:
        """Return samples of other heads, the same in every validation of every run."""

    @abstractmethod
    def loss_of(self, network: Network, batch: Batch, step: int) -> torch.Tensor:
        """Return what a step lowers."""

    @abstractmethod
    def validate(self, network: Network, batches: Sequence[Batch]) -> Validation:
        """Judge a network in evaluation mode."""

    @abstractmethod
    def save(self, path: Path, network: Network, description: str) -> None:
        """Write the weights."""

    def on_little_data(self) -> Task[Network, Batch]:
        """Return a task whose steps cost the same, without simulating much for the first."""
        return self
