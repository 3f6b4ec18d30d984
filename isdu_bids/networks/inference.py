"""Susceptibility of a whole volume by a trained ISDU-QSMNet."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from isdu_bids.errors import DataError, UsageError
from isdu_bids.networks import noise
from isdu_bids.networks.boxes import Active, Boxes
from isdu_bids.networks.forms import Pyramid, inference_form
from isdu_bids.networks.grids import isotropic_grid
from isdu_bids.networks.registry import GRIDS, PRECISIONS
from isdu_bids.networks.unrolled import ISDUQSMNet
from isdu_bids.networks.weights import Weights, load_weights, weights_path
from isdu_bids.physics.device import cpu_has_bfloat16, remark
from isdu_bids.physics.dipole import dipole_kernel
from isdu_bids.physics.window import Window
from isdu_bids.registry import Prepared

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: Voxels of zero field kept around the mask, against wrap-around of the dipole.
MARGIN_VOXELS = 16
#: Voxels around the mask that half precision computes; see docs/inference.md for the error.
FAST_REACH_VOXELS = 3


@torch.inference_mode()
def isdu(
    field_ppm: torch.Tensor,
    mask: torch.Tensor,
    *,
    voxel_size_mm: Sequence[float],
    b0_direction: Sequence[float],
    field_sd_ppm: torch.Tensor | float | None = None,
    weights: str | Path | Weights,
    weights_iterations: int | None,
    model_error_ppm: float | None,
    grid: str,
    precision: str,
    crop: bool,
) -> Unrolled:
    """Invert a local field with ISDU-QSMNet.

    Parameters
    ----------
    field_ppm, mask
        Local field (ppm) and where it is valid, ``(x, y, z)``, on the device to compute on.
    voxel_size_mm, b0_direction
        Geometry in voxel axes.
    field_sd_ppm
        Standard deviation of the field by phase noise, a map or one number; for networks with noise
        input, without effect on others.
    weights
        Loaded weights, a packaged name or a path.
    weights_iterations
        K, where a file does not store it.
    model_error_ppm
        Error of the field that ``field_sd_ppm`` does not hold, for networks with noise input; by
        default `isdu_bids.networks.noise.model_error_ppm` finds it. 0 for simulated fields.
    grid
        ``native``; ``resampled`` to isotropic voxels of the finest edge; ``aligned``: also turned
        so that B0 is along the last axis; ``auto`` as `auto_grid` says.
    precision
        ``single``, or ``half``: denoisers in 16 bits and only close to the mask.
    crop
        Leave out what lies outside the mask. Otherwise the whole volume is computed, edges
        included, as the published code does.

    Returns
    -------
    Unrolled
        Its susceptibilities are zero outside the mask. Their mean is set by the network and carries
        no meaning: reference it.

    Raises
    ------
    DataError
        If the field is not finite inside the mask.
    UsageError
        For an unknown grid or precision.
    """
    loaded = (
        weights
        if isinstance(weights, Weights)
        else cached_weights(str(weights), weights_iterations)
    )
    check_finite(field_ppm, mask)
    boxes = _boxes(precision, crop, field_ppm.device)
    grid = chosen_grid(grid, loaded, voxel_size_mm, b0_direction)
    mask = mask.bool()
    field = torch.where(mask, field_ppm.float(), 0.0)
    if model_error_ppm is None and loaded.network.architecture.noise_input:
        geometry = {"voxel_size_mm": voxel_size_mm, "b0_direction": b0_direction}
        sd_map = field_sd_ppm if isinstance(field_sd_ppm, torch.Tensor) else None
        model_error_ppm = noise.model_error_ppm(field, mask, sd_map, **geometry)
    sd = noise.total_sd_ppm(field, field_sd_ppm, model_error_ppm or 0.0)
    scan = _Scan(field, mask, sd, voxel_size_mm, b0_direction)
    # networks have mostly seen B0 near the last axis, and changing axes costs nothing
    steepest = int(np.argmax(np.abs(b0_direction)))
    turned = scan.with_last_axis(steepest)
    if grid == "native" or not bool(mask.any()):
        found = _on_native_grid(loaded.network, turned, boxes)
    else:
        found = _on_other_grid(loaded.network, turned, boxes, aligned=grid == "aligned")
    return found.on(lambda chi: chi.transpose(steepest, 2))


@dataclass(frozen=True)
class Unrolled:
    """What the iterations of a network make of a field.

    Attributes
    ----------
    iterates
        Susceptibility (ppm) after each iteration, ``(iteration, x, y, z)``.
    lambdas
        Weight of each denoiser's proposal against the data.
    """

    iterates: torch.Tensor
    lambdas: tuple[float, ...]

    @property
    def chi_ppm(self) -> torch.Tensor:
        """Susceptibility of the last iteration."""
        return self.iterates[-1]

    def on(self, grid: Callable[[torch.Tensor], torch.Tensor]) -> Unrolled:
        """Bring every susceptibility to another grid."""
        return replace(self, iterates=torch.stack([grid(chi) for chi in self.iterates]))


@dataclass(frozen=True)
class _Scan:
    """What a network is given, on some grid."""

    field: torch.Tensor
    mask: torch.Tensor
    field_sd: torch.Tensor
    voxel_size_mm: Sequence[float]
    b0_direction: Sequence[float]

    def with_last_axis(self, axis: int) -> _Scan:
        """Exchange an axis with the last one."""

        def swapped(triple: Sequence[float]) -> list[float]:
            values = list(triple)
            values[axis], values[2] = values[2], values[axis]
            return values

        field, mask, sd = (v.transpose(axis, 2) for v in (self.field, self.mask, self.field_sd))
        return _Scan(field, mask, sd, swapped(self.voxel_size_mm), swapped(self.b0_direction))


def locate_isdu(*, weights: str | Path, **_: Any) -> dict[str, Path]:
    """Find the weights of a run; errors as of `isdu_bids.networks.weights.weights_path`."""
    return {"weights": weights_path(weights)}


def prepare_isdu(parameters: Mapping[str, Any], inputs: Mapping[str, Any]) -> Prepared:
    """Load the weights and decide on the grid, so that a sidecar can state both."""
    weights = parameters["weights"]
    if not isinstance(weights, Weights):
        weights = cached_weights(str(weights), parameters["weights_iterations"])
    geometry = inputs["voxel_size_mm"], inputs["b0_direction"]
    grid = chosen_grid(parameters["grid"], weights, *geometry)
    facts = {
        "weights": weights.name,
        "weights_sha256": weights.sha256,
        "weights_description": weights.description,
        "weights_iterations": weights.network.architecture.iterations,
        "grid": grid,
    }
    decided = {"weights": weights, "grid": grid}
    if weights.network.architecture.noise_input and "field_ppm" in inputs:
        error = parameters["model_error_ppm"]
        if error is None:
            names = ("field_ppm", "mask", "field_sd_ppm", "voxel_size_mm", "b0_direction")
            given = {name: inputs[name] for name in names if name in inputs}
            error = noise.model_error_ppm(**given)
        decided["model_error_ppm"] = error
    flags = () if grid == "native" else ("other_grid_for_weights",)
    return Prepared({**parameters, **decided}, facts, flags)


def chosen_grid(
    grid: str, weights: Weights, voxel_size_mm: Sequence[float], b0_direction: Sequence[float]
) -> str:
    """Name of the grid that a request comes to: ``auto`` resolved, others as they are.

    Raises
    ------
    UsageError
        For an unknown name.
    """
    if grid not in GRIDS:
        raise UsageError(f"grid {grid!r} is unknown; known are {', '.join(GRIDS)}")
    return auto_grid(weights, voxel_size_mm, b0_direction) if grid == "auto" else grid


def auto_grid(
    weights: Weights, voxel_size_mm: Sequence[float], b0_direction: Sequence[float]
) -> str:
    """Name of the grid that scores best for these weights and this geometry.

    Networks trained over a range of voxel sizes and directions of B0 run natively. Published ones
    have seen one dipole kernel, that of isotropic voxels and axial slices: anisotropic volumes are
    resampled, and turned where B0 is more than 10 degrees off the nearest axis; isotropic voxels of
    another size have the same kernel, and resampling would only cost detail (figures in
    docs/inference.md).
    """
    if weights.trained_at_mm is None:
        return "native"
    if max(map(abs, b0_direction)) < np.cos(np.radians(10)):
        return "aligned"
    return "resampled" if max(voxel_size_mm) > 1.1 * min(voxel_size_mm) else "native"


def _boxes(precision: str, crop: bool, device: torch.device) -> Boxes:
    """How to run the denoisers: small boxes on a CPU, large ones on a GPU."""
    if precision not in PRECISIONS:
        raise UsageError(f"precision {precision!r} is unknown; known are {', '.join(PRECISIONS)}")
    on_gpu = device.type == "cuda"
    # thin boxes follow the mask's outline; a GPU wants much work at once
    boxes = Boxes(planes=64 if on_gpu else 8, rows=128 if on_gpu else 8, whole=not crop)
    if precision == "half":
        dtype = torch.float16 if on_gpu else torch.bfloat16
        if not on_gpu and not cpu_has_bfloat16():
            dtype = torch.float32
            remark("single precision, close to the mask: this processor has no bfloat16")
        boxes = replace(boxes, dtype=dtype, max_reach_voxels=FAST_REACH_VOXELS)
    return boxes


def _on_other_grid(network: ISDUQSMNet, scan: _Scan, boxes: Boxes, *, aligned: bool) -> Unrolled:
    """Resample to isotropic voxels of the finest edge, run, resample back."""
    device, native_mask = scan.field.device, scan.mask.cpu().numpy()
    edge = min(scan.voxel_size_mm)
    grid = isotropic_grid(native_mask, scan.voxel_size_mm, scan.b0_direction, edge, aligned=aligned)
    field, inside = grid.pull(scan.field.cpu().numpy(), native_mask)
    field_sd, _ = grid.pull(scan.field_sd.cpu().numpy(), native_mask)
    pulled, mask, sd = (torch.from_numpy(v).to(device) for v in (field, inside, field_sd))
    other = _Scan(pulled, mask, sd, (grid.spacing_mm,) * 3, grid.b0_direction)

    def pushed(chi: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(grid.push(chi.cpu().numpy(), inside, native_mask)).to(device)

    return _on_native_grid(network, other, boxes).on(pushed)


def _on_native_grid(network: ISDUQSMNet, scan: _Scan, boxes: Boxes) -> Unrolled:
    """Crop to the mask and a margin, run, put back."""
    device = scan.field.device
    network = network.to(device)
    if boxes.whole:
        window = Window.whole(scan.mask)
    else:
        margin = (_margin_voxels(network, boxes),) * 3
        window = Window.around(scan.mask, before=margin, after=margin)
    kernel = dipole_kernel(
        window.shape,
        scan.voxel_size_mm,
        scan.b0_direction,
        dc_value=network.architecture.dc_value,
        device=device,
    )
    field, mask, field_sd = (window.cut(v) for v in (scan.field, scan.mask, scan.field_sd))

    def run(boxes: Boxes) -> Unrolled:
        # TF32 would cost three digits, other algorithms the same result twice
        with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            return _run(network, field, mask, field_sd, kernel, boxes)

    return thinner_until_it_fits(run, boxes).on(window.put_back)


def _margin_voxels(network: ISDUQSMNet, boxes: Boxes) -> int:
    """Room for what the denoisers make of the mask's surroundings."""
    needed = _needed(network)
    forms = [inference_form(denoiser) for denoiser in network.denoisers]
    # a U-Net sees everything; 16 voxels are its coarsest one
    reach = max(form.reach(needed) if form else 16 for form in forms)
    return max(MARGIN_VOXELS, min(reach, boxes.max_reach_voxels or reach))


def thinner_until_it_fits(run: Callable[[Boxes], T], boxes: Boxes) -> T:
    """Run in boxes; on a GPU that is too small, in thinner and thinner ones.

    Raises
    ------
    torch.cuda.OutOfMemoryError
        If boxes of 8 planes do not fit either.
    """
    while True:
        try:
            return run(boxes)
        except torch.cuda.OutOfMemoryError:
            if boxes.planes <= 8:
                raise
            boxes = replace(boxes, planes=boxes.planes // 2)
            torch.cuda.empty_cache()
            logger.warning("GPU memory does not suffice; trying boxes of %d planes", boxes.planes)
            remark(f"in boxes of {boxes.planes} planes for lack of memory")


def _run(
    network: ISDUQSMNet,
    field: torch.Tensor,
    mask: torch.Tensor,
    field_sd: torch.Tensor,
    kernel: torch.Tensor,
    boxes: Boxes,
) -> Unrolled:
    net = network.architecture
    active = Active(mask, boxes)
    background = field.new_full((net.channels,), -net.chi_mean_ppm / net.chi_std_ppm)
    if net.noise_input:
        background = torch.cat([background, background.new_zeros(1)])

    def denoise(index: int, state: torch.Tensor) -> torch.Tensor:
        denoiser = network.denoisers[index]
        form = inference_form(denoiser)
        if form and not (boxes.whole and isinstance(form, Pyramid)):
            return form.run(state[0], background, active, _needed(network))[None]
        with torch.autocast(field.device.type, boxes.dtype, boxes.dtype != torch.float32):
            return denoiser(state)

    chi, lambdas = [], []
    for iterate in network.iterate(
        field[None, None], mask[None, None].float(), kernel, field_sd[None, None], denoise
    ):
        chi.append(iterate.consistent[0, 0])
        lambdas.append(float(iterate.weight))
    return Unrolled(torch.stack(chi), tuple(lambdas))


def _needed(network: ISDUQSMNet) -> int | None:
    """Voxels around the mask where the output of a denoiser counts; ``None``: everywhere."""
    return 0 if network.architecture.masked_prior else None


def check_finite(field_ppm: torch.Tensor, mask: torch.Tensor) -> None:
    """Refuse a field with NaN or infinity inside the mask; outside it does not matter.

    Raises
    ------
    DataError
        With the number of voxels.
    """
    bad = int((~torch.isfinite(field_ppm) & mask.bool()).sum())
    if bad:
        raise DataError(
            f"the local field is not finite in {bad} voxels inside the mask; take them out of the "
            "mask or repair the field"
        )


@lru_cache(maxsize=2)
def cached_weights(name_or_path: str, iterations: int | None = None) -> Weights:
    """Load weights once per process: several scans of a worker share a network."""
    return load_weights(name_or_path, iterations=iterations)
