"""All that a training run changes from step to step, saved so that it continues to the bit."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from isdu_bids.errors import UsageError
from isdu_bids.networks.unrolled import ISDUQSMNet
from isdu_bids.training.config import TrainingConfig


@dataclass
class TrainingState:
    """Network, optimiser, random numbers and progress.

    Attributes
    ----------
    network, average, optimiser
        The weights that are trained, their moving average, and Adam.
    generator
        Source of the patches; torch's global one (dropout) is saved beside it.
    step
        Adam steps done.
    best_nrmse, n_since_best
        Best validation (%), and validations after it.
    """

    network: ISDUQSMNet
    average: AveragedModel
    optimiser: torch.optim.Adam
    generator: torch.Generator
    step: int = 0
    best_nrmse: float = math.inf
    n_since_best: int = 0

    @property
    def averaged(self) -> ISDUQSMNet:
        """The network that is validated and saved."""
        return cast(ISDUQSMNet, self.average.module)

    @classmethod
    def new(cls, config: TrainingConfig, network: ISDUQSMNet, device: str) -> TrainingState:
        """State before the first step."""
        average = AveragedModel(
            network, multi_avg_fn=get_ema_multi_avg_fn(config.average_decay), use_buffers=True
        )
        optimiser = torch.optim.Adam(network.parameters(), lr=config.learning_rate)
        generator = torch.Generator(device).manual_seed(config.seed)
        return cls(network, average, optimiser, generator)

    def save(self, path: Path, config: TrainingConfig) -> None:
        """Write the state, with the configuration that it belongs to."""
        content = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "generator": self.generator.get_state(),
            "device": self.generator.device.type,
            "global_generators": _global_generators(self.generator.device),
            "step": self.step,
            "best_nrmse": self.best_nrmse,
            "n_since_best": self.n_since_best,
            "config": {**asdict(config), "sampling": config.sampling},
        }
        partial = path.with_name(f"{path.name}.part")  # a job killed while writing keeps the old
        torch.save(content, partial)
        partial.replace(path)

    def restore(self, path: Path, config: TrainingConfig) -> None:
        """Continue from a file; files of older versions lack the newer keys.

        Raises
        ------
        UsageError
            If the file belongs to another network, other patches, seed or kind of device.
        """
        content = torch.load(path, map_location="cpu", weights_only=True)
        if "config" in content:
            check_same_run(content["config"], config, path)
        device = self.generator.device
        if content.get("device", device.type) != device.type:
            raise UsageError(f"{path} was trained on {content['device']}: give that as --device")
        self.network.load_state_dict(content["network"])
        self.average.load_state_dict(content["average"])
        self.optimiser.load_state_dict(content["optimiser"])
        self.generator.set_state(content["generator"])
        if states := content.get("global_generators"):
            torch.set_rng_state(states[0])
            if device.type == "cuda":
                torch.cuda.set_rng_state(states[1], device)
        self.step = int(content["step"])
        self.best_nrmse = float(content.get("best_nrmse", math.inf))
        self.n_since_best = int(content.get("n_since_best", 0))


def check_same_run(saved: dict[str, Any], config: TrainingConfig, path: Path) -> None:
    """Refuse to continue with another network or other data; steps and rates may change.

    Raises
    ------
    UsageError
        Naming the first key that differs.
    """
    present = asdict(config)
    _check("sampling", saved["sampling"], config.sampling, path)
    for section in ("architecture", "patches"):
        # what a file of an older version does not mention had its default
        default = asdict(type(getattr(config, section))())
        before = {**default, **saved[section]}
        for key in sorted(before.keys() | present[section].keys()):
            _check(f"[{section}] {key}", before.get(key), present[section].get(key), path)
    _check("seed", saved["seed"], config.seed, path)


def _check(key: str, before: Any, now: Any, path: Path) -> None:
    if before != now:
        raise UsageError(
            f"{path} was trained with {key} = {before!r}, not {now!r}; "
            "set it back, or choose another folder"
        )


def _global_generators(device: torch.device) -> list[torch.Tensor]:
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states
