"""All that a training run changes from step to step, saved so that it continues to the bit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any, Generic, cast

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from isdu_bids.errors import UsageError
from isdu_bids.files import replacing
from isdu_bids.simulation.random_fields import derived_generator
from isdu_bids.training.distributed import (
    average_over_processes,
    gathered,
    is_first,
    n_processes,
    rank,
)
from isdu_bids.training.task import Network, Task

#: What files of older versions do not mention.
_UNMENTIONED = {"family": "isdu"}


@dataclass
class TrainingState(Generic[Network]):
    """Network, optimiser, random numbers and progress.

    Attributes
    ----------
    network, average, optimiser
        The weights that are trained, their moving average, and Adam.
    generator
        Source of this process's patches; torch's global one (dropout) is saved beside it.
    step
        Adam steps done.
    best_score, n_since_best
        Best (lowest) validation, and validations after it.
    """

    network: Network
    average: AveragedModel
    optimiser: torch.optim.Adam
    generator: torch.Generator
    step: int = 0
    best_score: float = math.inf
    n_since_best: int = 0

    @property
    def averaged(self) -> Network:
        """The network that is validated and saved."""
        return cast(Network, self.average.module)

    @classmethod
    def new(
        cls, task: Task[Network, Any], device: str, warm_start: Path | None = None
    ) -> TrainingState[Network]:
        """State before the first step."""
        network = task.new_network(warm_start).to(device)
        network = network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        average = AveragedModel(
            network, multi_avg_fn=get_ema_multi_avg_fn(task.average_decay), use_buffers=True
        )
        optimiser = torch.optim.Adam(task.parameter_groups(network), lr=task.learning_rate)
        generator = torch.Generator(device).manual_seed(task.seed)
        if not is_first():  # the first draws what a process alone would draw
            generator = derived_generator(task.seed, "process", rank(), device=device)
            torch.manual_seed(generator.initial_seed())
        return cls(network, average, optimiser, generator)

    def set_learning_rate(self, rate: float) -> None:
        """Set the rate of the next step; each group takes its multiple of it."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["factor"]

    def descend(self, loss: torch.Tensor, gradient_clip: float) -> float:
        """Make one Adam step and return the loss, both averaged over the processes."""
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        loss = loss.detach()
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        statistics = [b for b in self.network.buffers() if b.is_floating_point()]
        average_over_processes([loss, *gradients, *statistics])
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), gradient_clip)
        self.optimiser.step()
        self.average.update_parameters(self.network)
        self.step += 1
        return float(loss)

    def save(self, path: Path, task: Task[Network, Any]) -> None:
        """Write the state, with the recipe that it belongs to; all processes call this."""
        (own, *global_states), *others = gathered(
            [self.generator.get_state(), *_global_generators(self.generator.device)]
        )
        content = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "generator": own,
            "device": self.generator.device.type,
            "global_generators": global_states,
            "other_processes": others,
            "step": self.step,
            "best_score": self.best_score,
            "n_since_best": self.n_since_best,
            "config": _plain(task.identity),
        }
        if is_first():
            with replacing(path) as partial:  # a job killed while writing keeps the old
                torch.save(content, partial)
        gathered(None)  # no process goes on, and perhaps reads the file, before it is there

    def restore(self, path: Path, task: Task[Network, Any]) -> None:
        """Continue from a file; files of older versions lack the newer keys.

        Raises
        ------
        UsageError
            If the file belongs to another network, other patches, seed, kind of device or number
            of processes.
        """
        content = torch.load(path, map_location="cpu", weights_only=True)
        if "config" in content:
            check_same_run(content["config"], task.identity, path)
        device = self.generator.device
        if content.get("device", device.type) != device.type:
            raise UsageError(f"{path} was trained on {content['device']}: give that as --device")
        first = [content["generator"], *content.get("global_generators", [])]
        processes = [first, *content.get("other_processes", [])]
        if len(processes) != n_processes():
            raise UsageError(
                f"{path} was trained by {len(processes)} processes, not {n_processes()}; "
                f"give torchrun --nproc-per-node {len(processes)}, or choose another folder"
            )
        self.network.load_state_dict(content["network"])
        self.average.load_state_dict(content["average"])
        self.optimiser.load_state_dict(self._in_our_groups(content["optimiser"]))
        own, *states = processes[rank()]
        self.generator.set_state(own)
        if states:
            torch.set_rng_state(states[0])
            if device.type == "cuda":
                torch.cuda.set_rng_state(states[1], device)
        self.step = int(content["step"])
        self.best_score = float(content.get("best_score", content.get("best_nrmse", math.inf)))
        self.n_since_best = int(content.get("n_since_best", 0))

    def _in_our_groups(self, saved: dict[str, Any]) -> dict[str, Any]:
        """Moments of a file with the groups of the recipe, whose rates may be others.

        Older files have all parameters in one group, in the network's order.
        """
        groups, moments = self.optimiser.state_dict()["param_groups"], saved["state"]
        if len(saved["param_groups"]) < len(groups):
            place = {parameter: i for i, parameter in enumerate(self.network.parameters())}
            ours = (p for group in self.optimiser.param_groups for p in group["params"])
            moments = {i: moments[place[p]] for i, p in enumerate(ours)}
        return {"state": moments, "param_groups": groups}


def check_same_run(saved: Mapping[str, Any], identity: Mapping[str, Any], path: Path) -> None:
    """Refuse to continue with another network or other data; steps and rates may change.

    Parameters
    ----------
    saved, identity
        `Task.identity` of the run in plain values, and of the recipe.
    path
        Of the run's state.

    Raises
    ------
    UsageError
        Naming the first key that differs.
    """
    saved, present = {**_UNMENTIONED, **saved}, _plain(identity)
    for key, section in identity.items():
        if not (is_dataclass(section) and key in saved):
            _check(key, saved.get(key), present[key], path)
            continue
        # what a file of an older version does not mention had its default
        before = {
            **asdict(type(section)()),  # type: ignore[misc]
            **saved[key],
        }
        for name in sorted(before.keys() | present[key].keys()):
            _check(f"[{key}] {name}", before.get(name), present[key].get(name), path)


def _plain(identity: Mapping[str, Any]) -> dict[str, Any]:
    return {k: asdict(v) if is_dataclass(v) and not isinstance(v, type) else v
            for k, v in identity.items()}  # fmt: skip


def _check(key: str, before: Any, now: Any, path: Path) -> None:
    if before != now:
        raise UsageError(
            f"{path} was trained with {key} = {before!r}, not {now!r}; "
            "set it back, or choose another folder"
        )


def _global_generators(device: torch.device) -> list[torch.Tensor]:
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states
