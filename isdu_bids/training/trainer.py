"""The training loop of the unrolled networks: resumable to the step."""

from __future__ import annotations

import csv
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from isdu_bids.networks.unrolled import Architecture, ISDUQSMNet
from isdu_bids.networks.weights import load_weights, save_weights
from isdu_bids.simulation.patches import Patch
from isdu_bids.training.allocator import keep_freed_memory
from isdu_bids.training.config import TrainingConfig
from isdu_bids.training.distributed import gathered, is_first, n_processes, rank
from isdu_bids.training.losses import paper_loss, susceptibility_loss
from isdu_bids.training.patch_source import training_patches, validation_patches
from isdu_bids.training.recipe import learning_rate
from isdu_bids.training.state import TrainingState

logger = logging.getLogger(__name__)

WEIGHTS_FILE, BEST_FILE = "weights.safetensors", "best.safetensors"
STATE_FILE, LOG_FILE, SCANS_FOLDER = "state.pt", "log.csv", "scans"


def train(
    config: TrainingConfig,
    heads: Sequence[torch.Tensor],
    validation_heads: Sequence[torch.Tensor],
    folder: Path,
    *,
    device: str = "cpu",
    warm_start: Path | None = None,
    scans: Path | None = None,
) -> Path:
    """Train on patches of ``heads``; continue where ``folder`` was left.

    Parameters
    ----------
    config
        The recipe.
    heads, validation_heads
        Integer label maps ``(x, y, z)`` on 1 mm grids.
    folder
        Receives the last weights, those of the best validation, state and log.
    device
        Torch device of network and simulation.
    warm_start
        Weights of a trained K = 1 network, copied into every iteration (as published nets were).
    scans
        Folder of the fixed scans of overlapping patches, which several runs may share; by default
        one inside ``folder``.

    Returns
    -------
    Path
        The weights file.

    Raises
    ------
    UsageError
        If the folder holds a run with another network, other patches, another seed or another
        number of processes.
    """
    keep_freed_memory()
    folder.mkdir(parents=True, exist_ok=True)
    network = new_network(config, device, warm_start)
    state = TrainingState.new(config, network, device, parameter_groups(config, network))
    if (folder / STATE_FILE).exists():
        state.restore(folder / STATE_FILE, config)
    if is_finished(state, config):
        return folder / WEIGHTS_FILE
    scans = scans or folder / SCANS_FOLDER
    source = training_patches(config, heads, scans, device)
    validation = validation_patches(config, validation_heads, scans, device) if is_first() else []
    while not is_finished(state, config):
        losses, start = [], time.perf_counter()
        for _ in range(min(config.save_every, config.steps - state.step)):
            turn = state.step * n_processes() + rank()  # processes share out the batches of epochs
            patches = source.draw(turn, state.generator)
            losses.append(training_step(state, config, patches))
        seconds = (time.perf_counter() - start) / len(losses)
        if is_first():
            network = state.averaged
            nrmse = validation_nrmse(network, validation)
            description = f"{state.step} steps, seed {config.seed}"
            save_weights(folder / WEIGHTS_FILE, network, description)
            state.n_since_best += 1
            if nrmse < state.best_score:
                state.best_score, state.n_since_best = nrmse, 0
                save_weights(folder / BEST_FILE, network, description)
            left_h = (config.steps - state.step) * seconds / 3600
            progress = f"{seconds:.2f} s/step, {left_h:.1f} h to go"
            rate = learning_rate(config, state.step - 1)
            _log(folder, state, sum(losses) / len(losses), nrmse, rate, progress)
        # the others wait for the first to say whether to go on
        state.n_since_best = gathered(state.n_since_best)[0]
        state.save(folder / STATE_FILE, config)
    return folder / WEIGHTS_FILE


def is_finished(state: TrainingState[ISDUQSMNet], config: TrainingConfig) -> bool:
    """Whether all steps are done, or validation has not improved for too long."""
    out_of_patience = 0 < config.patience <= state.n_since_best
    return state.step >= config.steps or out_of_patience


def new_network(config: TrainingConfig, device: str, warm_start: Path | None) -> ISDUQSMNet:
    """Network to start from; its weights follow from the seed or from another network."""
    torch.manual_seed(config.seed)
    network = ISDUQSMNet(config.architecture).to(device)
    network = network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    if warm_start is not None:
        copy_first_iteration(load_weights(warm_start).network, network)
    return network


def parameter_groups(config: TrainingConfig, network: ISDUQSMNet) -> list[dict[str, Any]]:
    """Weights of the convolutions, and what steers the data consistency, at a rate of its own."""
    denoisers = list(network.denoisers.parameters())
    known = {id(parameter) for parameter in denoisers}
    others = [parameter for parameter in network.parameters() if id(parameter) not in known]
    return [
        {"params": denoisers, "factor": 1.0},
        {"params": others, "factor": config.lambda_rate},
    ]


def copy_first_iteration(trained: ISDUQSMNet, network: ISDUQSMNet) -> None:
    """Start every iteration from the first denoiser of a trained network."""
    for denoiser in network.denoisers:
        denoiser.load_state_dict(trained.denoisers[0].state_dict())
    network.log_lambdas.data[:] = trained.log_lambdas.data[0]


def training_step(
    state: TrainingState[ISDUQSMNet], config: TrainingConfig, patches: Sequence[Patch]
) -> float:
    """One Adam step; returns the loss."""
    # The last steps see the statistics that inference will use, not those of one patch.
    state.network.train(state.step < config.steps - config.decay_steps)
    state.set_learning_rate(learning_rate(config, state.step))
    batch = stack(patches, config.architecture)
    device = batch.field_ppm.device.type
    with torch.autocast(device, torch.bfloat16, enabled=config.half_precision):
        chi = batch.inverted_by(state.network).float()
    compared = (chi, batch.chi_ppm, batch.mask, batch.kernel)
    if config.loss == "paper":
        loss = paper_loss(*compared, batch.field_ppm)
    else:
        loss = susceptibility_loss(*compared)
    return state.descend(loss, config.gradient_clip)


@dataclass(frozen=True)
class Batch:
    """Patches side by side, ``(batch, 1, x, y, z)``."""

    field_ppm: torch.Tensor
    mask: torch.Tensor
    chi_ppm: torch.Tensor
    kernel: torch.Tensor
    field_sd_ppm: torch.Tensor | None

    def inverted_by(self, network: ISDUQSMNet) -> torch.Tensor:
        """Return what a network makes of the fields."""
        return network(self.field_ppm, self.mask, self.kernel, self.field_sd_ppm)


def stack(patches: Sequence[Patch], architecture: Architecture) -> Batch:
    """Batch of patches, with the dipole kernel as the architecture defines it at k = 0."""
    field, mask, chi = (
        torch.stack([getattr(patch, name) for patch in patches])
        for name in ("field_ppm", "mask", "chi_ppm")
    )
    field_sds = [patch.field_sd_ppm for patch in patches if patch.field_sd_ppm is not None]
    kernel = torch.stack([patch.kernel for patch in patches])[:, None]
    kernel[..., 0, 0, 0] = architecture.dc_value
    return Batch(field, mask, chi, kernel, torch.stack(field_sds) if field_sds else None)


@torch.no_grad()
def validation_nrmse(network: ISDUQSMNet, patches: Sequence[Patch]) -> float:
    """Mean over patches of the demeaned NRMSE (%) inside the mask."""
    network.eval()
    errors = []
    for patch in patches:
        batch = stack([patch], network.architecture)
        inside, truth = batch.mask > 0, batch.chi_ppm
        error, truth = (batch.inverted_by(network) - truth)[inside], truth[inside]
        errors.append(100 * float(error.std() / truth.std().clamp(min=1e-4)))
    return sum(errors) / len(errors)


def _log(
    folder: Path,
    state: TrainingState[ISDUQSMNet],
    loss: float,
    nrmse: float,
    rate: float,
    progress: str,
) -> None:
    lambdas = [round(float(value), 4) for value in state.averaged.lambdas.detach()]
    logger.info(
        "step %d: loss %.4f, validation NRMSE %.2f %%, lambda %s; %s",
        state.step, loss, nrmse, lambdas, progress,
    )  # fmt: skip
    path = folder / LOG_FILE
    is_new = not path.exists()
    with path.open("a", newline="") as stream:
        writer = csv.writer(stream, delimiter="\t")
        if is_new:
            writer.writerow(["step", "loss", "validation_nrmse", "learning_rate", "lambdas"])
        writer.writerow([state.step, f"{loss:.5f}", f"{nrmse:.3f}", f"{rate:.2e}", *lambdas])
