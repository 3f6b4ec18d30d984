"""Settings of a training run, read from TOML."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from isdu_bids.errors import UsageError
from isdu_bids.networks.unrolled import Architecture
from isdu_bids.settings import read_toml
from isdu_bids.simulation.patches import PatchSettings


@dataclass(frozen=True)
class TrainingConfig:
    """One stage of training.

    Attributes
    ----------
    architecture, patches
        Network and simulation.
    steps, batch_size, learning_rate
        Adam steps, patches per step, peak learning rate.
    warmup_steps, decay_steps
        The learning rate rises linearly, stays, and falls linearly to zero over the last steps.
    gradient_clip
        Largest gradient norm.
    seed
        Of everything.
    half_precision
        Denoisers in bfloat16 (the FFTs and the weights stay float32).
    save_every
        Steps between checkpoints and validations.
    """

    architecture: Architecture
    patches: PatchSettings
    steps: int = 10_000
    batch_size: int = 1
    learning_rate: float = 1.5e-3
    warmup_steps: int = 200
    decay_steps: int = 1_000
    gradient_clip: float = 1.0
    seed: int = 0
    half_precision: bool = True
    save_every: int = 250


def load_config(path: Path) -> TrainingConfig:
    """Read a training configuration.

    Raises
    ------
    UsageError
        For a missing file, broken TOML or an unknown key.
    """
    content = read_toml(path)
    nested = {"architecture": Architecture, "patches": PatchSettings}
    sections = {name: _build(kind, content.pop(name, {}), path) for name, kind in nested.items()}
    return _build(TrainingConfig, {**content, **sections}, path)


def _build(kind: type[Any], values: dict[str, Any], path: Path) -> Any:
    known = {field.name for field in fields(kind)}
    if unknown := sorted(set(values) - known):
        raise UsageError(
            f"{path}: unknown key {unknown[0]!r}; known keys: {', '.join(sorted(known))}"
        )
    return kind(**{key: tuple(v) if isinstance(v, list) else v for key, v in values.items()})
