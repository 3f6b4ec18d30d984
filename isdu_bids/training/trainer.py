"""The training loop of the unrolled networks: resumable to the step."""

from __future__ import annotations

import csv
import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from isdu_bids.networks.unrolled import ISDUQSMNet
from isdu_bids.networks.weights import load_weights, save_weights
from isdu_bids.simulation.patches import Patch, draw_patch
from isdu_bids.training.config import TrainingConfig
from isdu_bids.training.losses import susceptibility_loss

logger = logging.getLogger(__name__)

_N_VALIDATION_PATCHES = 24
WEIGHTS_FILE, STATE_FILE, LOG_FILE = "weights.safetensors", "state.pt", "log.csv"


def train(
    config: TrainingConfig,
    heads: Sequence[torch.Tensor],
    validation_heads: Sequence[torch.Tensor],
    folder: Path,
    *,
    device: str = "cpu",
    warm_start: Path | None = None,
) -> Path:
    """Train on patches of ``heads``; continue where ``folder`` was left.

    Parameters
    ----------
    config
        The recipe.
    heads, validation_heads
        Integer label maps ``(x, y, z)`` on 1 mm grids.
    folder
        Receives weights, state and log.
    device
        Torch device of network and simulation.
    warm_start
        Weights of a trained K = 1 network, copied into every iteration (as published nets were).

    Returns
    -------
    Path
        The weights file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.seed)
    network = ISDUQSMNet(config.architecture).to(device)
    network = network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    if warm_start is not None:
        copy_first_iteration(load_weights(warm_start).network, network)
    average = AveragedModel(
        network, multi_avg_fn=get_ema_multi_avg_fn(config.average_decay), use_buffers=True
    )
    optimiser = torch.optim.Adam(network.parameters(), lr=config.learning_rate)
    generator = torch.Generator(device).manual_seed(config.seed)
    heads = [head.to(device) for head in heads]
    step = 0
    if (folder / STATE_FILE).exists():
        step = _restore(folder, network, average, optimiser, generator)
    validation = _validation_patches(config, validation_heads, device)
    while step < config.steps:
        losses = []
        for _ in range(min(config.save_every, config.steps - step)):
            rate = learning_rate(config, step)
            # The last steps see the statistics that inference will use, not those of one patch.
            network.train(step < config.steps - config.decay_steps)
            for group in optimiser.param_groups:
                group["lr"] = rate
            losses.append(_step(network, optimiser, config, heads, generator))
            average.update_parameters(network)
            step += 1
        error = validation_nrmse(average.module, validation)
        _save(folder, network, average, optimiser, generator, step, config)
        _log(folder, step, sum(losses) / len(losses), error, rate, average.module)
    return folder / WEIGHTS_FILE


def learning_rate(config: TrainingConfig, step: int) -> float:
    """Trapezoid: linear rise, plateau, linear fall to zero at ``config.steps``."""
    rise = (step + 1) / max(1, config.warmup_steps)
    fall = (config.steps - step) / max(1, config.decay_steps)
    return config.learning_rate * min(1.0, rise, fall)


def copy_first_iteration(trained: ISDUQSMNet, network: ISDUQSMNet) -> None:
    """Start every iteration from the first denoiser of a trained network."""
    for denoiser in network.denoisers:
        denoiser.load_state_dict(trained.denoisers[0].state_dict())
    network.log_lambdas.data[:] = trained.log_lambdas.data[0]


@torch.no_grad()
def validation_nrmse(network: ISDUQSMNet, patches: Sequence[Patch]) -> float:
    """Mean over patches of the demeaned NRMSE (%) inside the mask."""
    network.eval()
    errors = []
    for patch in patches:
        chi = network(patch.field_ppm[None], patch.mask[None], patch.kernel)[0]
        inside = patch.mask > 0
        error, truth = (chi - patch.chi_ppm)[inside], patch.chi_ppm[inside]
        errors.append(100 * float(error.std() / truth.std().clamp(min=1e-4)))
    return sum(errors) / len(errors)


def _step(
    network: ISDUQSMNet,
    optimiser: torch.optim.Optimizer,
    config: TrainingConfig,
    heads: Sequence[torch.Tensor],
    generator: torch.Generator,
) -> float:
    device = generator.device
    picks = torch.randint(len(heads), (config.batch_size,), generator=generator, device=device)
    patches = [draw_patch(heads[int(pick)], generator, config.patches) for pick in picks]
    field, mask, target, kernel = (
        torch.stack([getattr(patch, name) for patch in patches])
        for name in ("field_ppm", "mask", "chi_ppm", "kernel")
    )
    with torch.autocast(device.type, torch.bfloat16, enabled=config.half_precision):
        chi = network(field, mask, kernel[:, None])
    loss = susceptibility_loss(chi.float(), target, mask, kernel[:, None])
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), config.gradient_clip)
    optimiser.step()
    return float(loss.detach())


def _validation_patches(
    config: TrainingConfig, heads: Sequence[torch.Tensor], device: str
) -> list[Patch]:
    generator = torch.Generator(device).manual_seed(12345)
    return [
        draw_patch(heads[i % len(heads)].to(device), generator, config.patches)
        for i in range(_N_VALIDATION_PATCHES)
    ]


def _save(
    folder: Path,
    network: ISDUQSMNet,
    average: AveragedModel,
    optimiser: torch.optim.Optimizer,
    generator: torch.Generator,
    step: int,
    config: TrainingConfig,
) -> None:
    save_weights(folder / WEIGHTS_FILE, average.module, f"{step} steps, seed {config.seed}")
    state = {
        "network": network.state_dict(),
        "average": average.state_dict(),
        "optimiser": optimiser.state_dict(),
        "generator": generator.get_state(),
        "step": step,
    }
    partial = folder / f"{STATE_FILE}.part"  # a job killed while writing must not lose its state
    torch.save(state, partial)
    partial.replace(folder / STATE_FILE)


def _restore(
    folder: Path,
    network: ISDUQSMNet,
    average: AveragedModel,
    optimiser: torch.optim.Optimizer,
    generator: torch.Generator,
) -> int:
    state = torch.load(folder / STATE_FILE, map_location="cpu", weights_only=True)
    network.load_state_dict(state["network"])
    average.load_state_dict(state["average"])
    optimiser.load_state_dict(state["optimiser"])
    generator.set_state(state["generator"])
    return int(state["step"])


def _log(
    folder: Path, step: int, loss: float, nrmse: float, rate: float, network: ISDUQSMNet
) -> None:
    lambdas = [round(float(value), 4) for value in network.lambdas.detach()]
    logger.info(
        "step %d: loss %.4f, validation NRMSE %.2f %%, lambda %s", step, loss, nrmse, lambdas
    )
    path = folder / LOG_FILE
    is_new = not path.exists()
    with path.open("a", newline="") as stream:
        writer = csv.writer(stream, delimiter="\t")
        if is_new:
            writer.writerow(["step", "loss", "validation_nrmse", "learning_rate", "lambdas"])
        writer.writerow([step, f"{loss:.5f}", f"{nrmse:.3f}", f"{rate:.2e}", *lambdas])
