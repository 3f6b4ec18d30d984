"""Settings of a training run, read from TOML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from isdu_bids.errors import UsageError
from isdu_bids.files import read_toml
from isdu_bids.networks.unrolled import Architecture
from isdu_bids.simulation.patches import PatchSettings
from isdu_bids.training.losses import LOSSES
from isdu_bids.training.patch_set import PatchSetSettings

SCHEDULES = ("trapezoid", "cosine")
#: What the section [patches] describes, by the value of the key ``sampling``.
SAMPLINGS: Mapping[str, type[Any]] = {"random": PatchSettings, "overlapping": PatchSetSettings}


@dataclass(frozen=True)
class TrainingConfig:
    """One stage of training.

    Attributes
    ----------
    architecture, patches
        Network and simulation: patches drawn on the fly, or overlapping ones of fixed scans.
    steps, batch_size, learning_rate
        Adam steps, patches per step, peak learning rate.
    schedule
        ``trapezoid``: the learning rate rises linearly, stays, and falls linearly to zero over the
        last ``decay_steps``; ``cosine``: it rises linearly, then falls along half a cosine.
    warmup_steps, decay_steps
        Of the schedule. The last ``decay_steps`` also train with the batch norm's running
        statistics and without dropout, as inference does.
    loss
        ``masked`` or ``paper``, see `isdu_bids.training.losses`.
    gradient_clip
        Largest gradient norm.
    lambda_rate
        Factor on the learning rate of the lambdas, which are few and far from their values.
    average_decay
        Of the exponential moving average of the weights, which is what is validated and saved; 0
        saves the last weights.
    subset_batches
        Batches per epoch, drawn anew for every epoch, of overlapping patches; 0 visits all.
    patience
        Validations without a better one after which training stops; 0 never stops early.
    seed
        Of everything.
    half_precision
        Denoisers in bfloat16 (the FFTs and the weights stay float32).
    save_every
        Steps between checkpoints and validations.
    """

    architecture: Architecture
    patches: PatchSettings | PatchSetSettings
    steps: int = 10_000
    batch_size: int = 1
    learning_rate: float = 1.5e-3
    schedule: str = "trapezoid"
    warmup_steps: int = 200
    decay_steps: int = 1_000
    loss: str = "masked"
    gradient_clip: float = 1.0
    lambda_rate: float = 1.0
    average_decay: float = 0.0
    subset_batches: int = 0
    patience: int = 0
    seed: int = 0
    half_precision: bool = True
    save_every: int = 250

    @property
    def sampling(self) -> str:
        """Kind of the patches, a key of `SAMPLINGS`."""
        return next(name for name, kind in SAMPLINGS.items() if type(self.patches) is kind)

    @property
    def identity(self) -> dict[str, Any]:
        """What may not change while a run goes on."""
        names = ("sampling", "architecture", "patches", "seed")
        return {name: getattr(self, name) for name in names}

    def __post_init__(self) -> None:
        choices = {"loss": LOSSES, "schedule": SCHEDULES}
        for name, known in choices.items():
            if (value := getattr(self, name)) not in known:
                raise UsageError(f"{name} = {value!r} is unknown; known are {', '.join(known)}")
        lowest = {"steps": 1, "batch_size": 1, "save_every": 1, "subset_batches": 0, "patience": 0}
        for name, least in lowest.items():
            if (value := getattr(self, name)) < least:
                raise UsageError(f"{name} = {value}: it must be at least {least}")
        told = isinstance(self.patches, PatchSettings) and self.patches.noise_level_ppm[1] > 0
        if self.architecture.noise_input and not told:
            raise UsageError("noise_input needs patches of known noise: set noise_level_ppm")
        if self.subset_batches and not isinstance(self.patches, PatchSetSettings):
            raise UsageError("subset_batches needs a fixed set: set sampling = 'overlapping'")


def load_config(path: Path) -> TrainingConfig:
    """Read a training configuration.

    Raises
    ------
    UsageError
        For a missing file, broken TOML, an unknown key or a value that makes no sense.
    """
    return parse_config(read_toml(path), str(path))


def parse_config(content: Mapping[str, Any], origin: str) -> TrainingConfig:
    """Build a configuration from the content of a TOML file; ``origin`` is named in errors."""
    content = dict(content)
    sampling = content.pop("sampling", "random")
    if sampling not in SAMPLINGS:
        raise UsageError(
            f"{origin}: sampling = {sampling!r} is unknown; known are {', '.join(SAMPLINGS)}"
        )
    nested: dict[str, type[Any]] = {"architecture": Architecture, "patches": SAMPLINGS[sampling]}
    sections = {
        name: build(kind, content.pop(name, {}), f"{origin}: [{name}]")
        for name, kind in nested.items()
    }
    return build(TrainingConfig, {**content, **sections}, origin)


_TYPES: Mapping[str, tuple[type, ...]] = {
    "int": (int,), "float": (int, float), "bool": (bool,), "str": (str,),
}  # fmt: skip


def build(kind: type[Any], values: Mapping[str, Any], origin: str) -> Any:
    """Build a dataclass from a section of TOML; ``origin`` is named in errors.

    Raises
    ------
    UsageError
        For an unknown key, or a value of the wrong kind.
    """
    known = {field.name: field for field in fields(kind)}
    for key, value in values.items():
        if key not in known:
            raise UsageError(f"{origin}: unknown key {key!r}; known keys: {', '.join(known)}")
        wanted = str(known[key].type).removesuffix(" | None")  # a string, by the __future__ import
        if wanted in _TYPES and not _is_a(value, wanted):
            raise UsageError(f"{origin}: {key} = {value!r} is no {wanted}")
        default = known[key].default
        length = len(default) if isinstance(default, tuple) else 0
        if length and not _is_list(value, None if wanted.endswith("...]") else length):
            raise UsageError(f"{origin}: {key} = {value!r} is no list of {length} numbers")
    try:
        return kind(**{key: tuple(v) if isinstance(v, list) else v for key, v in values.items()})
    except UsageError as error:
        raise UsageError(f"{origin}: {error}") from error


def _is_a(value: Any, wanted: str) -> bool:
    """Whether a TOML value has the type of a field; to Python a bool is an int, to us it is not."""
    return isinstance(value, _TYPES[wanted]) and (wanted == "bool") == isinstance(value, bool)


def _is_list(value: Any, length: int | None) -> bool:
    return isinstance(value, list | tuple) and length in (None, len(value))
