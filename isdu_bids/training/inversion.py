"""The task of networks that invert local fields, of any family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch

from isdu_bids.errors import UsageError
from isdu_bids.networks.families import FAMILIES, build_network, family_of
from isdu_bids.networks.unrolled import Architecture, ISDUQSMNet
from isdu_bids.networks.weights import load_weights, save_weights
from isdu_bids.simulation.patches import Patch, PatchSettings, draw_patch
from isdu_bids.simulation.symmetries import SYMMETRIES
from isdu_bids.training.batch import LOSSES, Batch, nrmse_percent
from isdu_bids.training.distributed import gathered, n_processes, rank
from isdu_bids.training.patch_set import PatchSet, PatchSetSettings, scan_files
from isdu_bids.training.patch_source import (
    VALIDATION_SEED,
    EpochsOfPatches,
    Mixed,
    RandomSamples,
    ReusedPatches,
    by_number,
    mostly_brain,
)
from isdu_bids.training.processed_set import ProcessedPatches, processed_files
from isdu_bids.training.recipe import pop_choice
from isdu_bids.training.task import Draw, Task, Validation

#: What the section [patches] describes, by the key ``sampling``; the first is the default.
SAMPLINGS: Mapping[str, type[Any]] = {"random": PatchSettings, "overlapping": PatchSetSettings}


@dataclass(frozen=True, kw_only=True)
class Inversion(Task[torch.nn.Module, Batch]):
    """Recipe of a network that inverts local fields; see `isdu_bids.training.task.Task`.

    Attributes
    ----------
    architecture
        Of the network; its class says the family (key ``family`` of a recipe).
    patches
        Simulation: patches drawn on the fly, or overlapping ones of fixed scans (key ``sampling``).
    loss
        ``masked`` or ``paper``, see `isdu_bids.training.losses`.
    lambda_rate
        Factor on the learning rate of the lambdas, which are few and far from their values.
    subset_batches
        Batches per epoch, drawn anew for every epoch, of overlapping patches; 0 visits all.
    reuse
        How often each patch drawn on the fly is seen, turned by another symmetry each time.
    processed_fraction, processed_heads
        How many batches are cut out of heads that went through background removal, for networks
        with noise input, and how many of these are simulated.
    """

    architecture: Any = field(default_factory=Architecture)
    patches: PatchSettings | PatchSetSettings = field(default_factory=PatchSettings)
    loss: str = "masked"
    lambda_rate: float = 1.0
    subset_batches: int = 0
    reuse: int = 1
    processed_fraction: float = 0.0
    processed_heads: int = 48

    FIXED: ClassVar[Sequence[str]] = ("sampling", "family", "architecture", "patches", "seed")

    @property
    def sampling(self) -> str:
        """Kind of the patches, a key of `SAMPLINGS`."""
        return next(name for name, kind in SAMPLINGS.items() if type(self.patches) is kind)

    @property
    def family(self) -> str:
        """Family of the network, a key of `isdu_bids.networks.families.FAMILIES`."""
        return family_of(self.architecture)

    @property
    def draws_per_step(self) -> float:
        """Batches that are simulated for each step."""
        return 1 / self.reuse

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.loss not in LOSSES:
            raise UsageError(f"loss = {self.loss!r} is unknown; known are {', '.join(LOSSES)}")
        if self.subset_batches < 0 or not 1 <= self.reuse <= len(SYMMETRIES):
            raise UsageError(
                f"subset_batches must be at least 0, and reuse between 1 and {len(SYMMETRIES)}"
            )
        is_random = isinstance(self.patches, PatchSettings)
        told = isinstance(self.patches, PatchSettings) and self.patches.noise_level_ppm[1] > 0
        if getattr(self.architecture, "noise_input", False) and not told:
            raise UsageError("noise_input needs patches of known noise: set noise_level_ppm")
        if self.processed_fraction and not told:
            raise UsageError("processed_fraction mixes patches of known noise: set noise_level_ppm")
        if self.subset_batches and is_random:
            raise UsageError("subset_batches needs a fixed set: set sampling = 'overlapping'")
        if (self.reuse > 1 or self.workers) and not is_random:
            raise UsageError(
                "reuse and workers are for patches drawn on the fly: set sampling = 'random'"
            )

    @classmethod
    def sections(cls, content: dict[str, Any], origin: str) -> Mapping[str, type[Any]]:
        """Kinds of network and patches, by the keys ``family`` and ``sampling``."""
        return {
            "architecture": pop_choice(content, "family", FAMILIES, origin).architecture,
            "patches": pop_choice(content, "sampling", SAMPLINGS, origin),
        }

    def new_network(self, warm_start: Path | None = None) -> torch.nn.Module:
        """Network to start from; its weights follow from the seed or from another network."""
        torch.manual_seed(self.seed)
        network = build_network(self.architecture)
        if warm_start is not None:
            start_from(load_weights(warm_start).network, network)
        return network

    def parameter_groups(self, network: torch.nn.Module) -> list[dict[str, Any]]:
        """Weights of the convolutions, and what steers the data consistency.

        The former belong to the network's parts, the latter to the network itself.
        """
        own = list(network.parameters(recurse=False))
        if not own:
            return super().parameter_groups(network)
        parts = [parameter for part in network.children() for parameter in part.parameters()]
        return [
            {"params": parts, "factor": 1.0},
            {"params": own, "factor": self.lambda_rate},
        ]

    def training_batches(
        self, heads: Sequence[torch.Tensor], scans: Path, device: str
    ) -> Draw[Batch]:
        """Patches of random heads, or of fixed scans, which lie in a folder."""
        draw: Draw[list[Patch]]
        if isinstance(self.patches, PatchSetSettings):
            for labels in heads[rank() :: n_processes()]:  # processes share out the simulation
                scan_files(self.patches, labels, scans, self.seed, device)
            gathered(None)  # and wait for each other
            patches = PatchSet(self.patches, heads, scans, seed=self.seed, device=device)
            draw = EpochsOfPatches(patches, self.batch_size, self.subset_batches, self.seed)
        else:
            draw = self._drawn_patches(self.patches, heads, device)
            if self.processed_fraction:
                files = processed_files(
                    heads, scans, self.processed_heads, self.seed, workers=self.workers
                )
                others = ProcessedPatches(files, self.patches.size, self.batch_size)
                draw = Mixed(draw, others, self.processed_fraction)
        return lambda step, generator: self._batch(draw(step, generator))

    def _drawn_patches(
        self, settings: PatchSettings, heads: Sequence[torch.Tensor], device: str
    ) -> Draw[list[Patch]]:
        """Patches of random heads, drawn where the network is trained or by other processes."""
        where = "cpu" if self.workers else device
        draw_one = partial(draw_patch, settings=settings)
        draw = RandomSamples(draw_one, [head.to(where) for head in heads], self.batch_size)
        if self.reuse == 1 and not self.workers:
            return draw
        fresh = by_number(draw, self.seed, device, self.workers)
        return ReusedPatches(fresh, self.reuse, self.seed)

    def validation_batches(
        self, heads: Sequence[torch.Tensor], scans: Path, device: str
    ) -> list[Batch]:
        """Patches, one a batch."""
        if isinstance(self.patches, PatchSetSettings):
            two = replace(self.patches, scans_per_head=min(2, self.patches.scans_per_head))
            fixed = PatchSet(two, heads, scans, seed=VALIDATION_SEED, device=device)
            patches = mostly_brain(fixed, self.n_validation)
        else:
            generator = torch.Generator(device).manual_seed(VALIDATION_SEED)
            patches = [
                draw_patch(heads[i % len(heads)].to(device), generator, self.patches)
                for i in range(self.n_validation)
            ]
        return [self._batch([patch]) for patch in patches]

    def loss_of(self, network: torch.nn.Module, batch: Batch, _: int) -> torch.Tensor:
        """Error of what the network makes of the fields."""
        with self.autocast(batch.field_ppm.device):
            chi = batch.inverted_by(network).float()
        return LOSSES[self.loss](chi, batch)

    def validate(self, network: torch.nn.Module, batches: Sequence[Batch]) -> Validation:
        """NRMSE; the log also has the lambdas of a network that has some."""
        score = nrmse_percent(network, batches)
        lambdas: Sequence[torch.Tensor] = getattr(network, "lambdas", ())
        columns = {f"lambda_{k}": float(value) for k, value in enumerate(lambdas, start=1)}
        return Validation(score, {"validation_nrmse": score, **columns})

    def save(self, path: Path, network: torch.nn.Module, description: str) -> None:
        """Write the weights; family and architecture travel with them."""
        save_weights(path, network, description)

    def on_little_data(self) -> Inversion:
        """One scan of each head is enough."""
        if isinstance(self.patches, PatchSettings):
            return self
        return replace(self, patches=replace(self.patches, scans_per_head=1), subset_batches=0)

    def _batch(self, patches: Sequence[Patch]) -> Batch:
        return Batch.of(patches, getattr(self.architecture, "dc_value", 0.0))


def start_from(trained: torch.nn.Module, network: torch.nn.Module) -> None:
    """Start from a trained network of the same architecture, or all iterations from its first.

    Raises
    ------
    UsageError
        If the architectures differ and one of the two has no iterations.
    """
    weights = trained.state_dict()
    shapes = {name: values.shape for name, values in network.state_dict().items()}
    if shapes == {name: values.shape for name, values in weights.items()}:
        network.load_state_dict(weights)
        return
    if not (isinstance(trained, ISDUQSMNet) and isinstance(network, ISDUQSMNet)):
        raise UsageError("--warm-start copies the iterations of an ISDU-QSMNet; leave it out")
    for denoiser in network.denoisers:
        denoiser.load_state_dict(trained.denoisers[0].state_dict())
    network.log_lambdas.data[:] = trained.log_lambdas.data[0]
