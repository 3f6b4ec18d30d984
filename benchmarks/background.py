"""Background field removal: accuracy on simulated heads, speed and memory at 160^3.

``python benchmarks/background.py accuracy`` scores every method from the true total field
(``--noise``: with noise and marked wraps); ``... speed`` compares V-SHARP with a
straightforward SciPy version in the same run and prints CPU seconds and peak memory. Needs
``ISDU_BIDS_TEST_DATA``; simulated heads are cached in ``BACKGROUND_CACHE``.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time

import numpy as np
import torch
from background_heads import Head, published, simulated
from scipy.ndimage import distance_transform_edt
from scipy.signal import fftconvolve

from isdu_bids.background import BACKGROUND
from isdu_bids.background.local_field import LocalField

#: Standard deviation that marks a voxel as wrong.
MARKED_PPM = 1.0


def scipy_vsharp(field, mask, voxel_size_mm, radii_mm=range(12, 0, -1), threshold=0.05):
    """V-SHARP as one writes it down: two FFT convolutions per radius on the whole volume."""
    remainder, unassigned, inverse = np.zeros_like(field), np.ones_like(mask), None
    for radius in radii_mm:
        reach = [int(radius / size) for size in voxel_size_mm]
        x, y, z = np.meshgrid(
            *(np.arange(-n, n + 1) * s for n, s in zip(reach, voxel_size_mm, strict=True)),
            indexing="ij",
        )
        kernel = (x**2 + y**2 + z**2 <= radius**2).astype(float)
        kernel /= kernel.sum()
        fits = unassigned & (fftconvolve(mask.astype(float), kernel, mode="same") > 1 - 1e-6)
        mean = fftconvolve(field * mask, kernel, mode="same")
        remainder[fits] = (field - mean)[fits]
        unassigned &= ~fits
        if inverse is None:
            grid = np.zeros(field.shape)
            grid[tuple(slice(0, n) for n in kernel.shape)] = kernel
            grid = np.roll(grid, [-n for n in reach], axis=(0, 1, 2))
            high_pass = 1 - np.fft.fftn(grid).real
            kept = np.abs(high_pass) > threshold
            inverse = np.where(kept, 1 / np.where(kept, high_pass, 1), 0)
    local = np.fft.ifftn(np.fft.fftn(remainder) * inverse).real
    return np.where(unassigned, 0, local), ~unassigned


def nrmse_percent(field: torch.Tensor, truth: torch.Tensor, where: torch.Tensor) -> float:
    estimate, true = (v[where].double() - v[where].double().mean() for v in (field, truth))
    return float(100 * (estimate - true).norm() / true.norm())


def remove(name: str, head: Head, field_sd_ppm: torch.Tensor | None = None) -> LocalField:
    """Uncertain voxels are excluded, but for ``jdf``, which takes them as uncertain."""
    certain = True if field_sd_ppm is None or name == "jdf" else field_sd_ppm < MARKED_PPM
    inputs = {
        "field_ppm": head.total_ppm,
        "mask": head.mask & certain,
        "voxel_size_mm": head.voxel_size_mm,
        "b0_direction": head.b0_direction,
        "field_sd_ppm": field_sd_ppm,
    }
    return BACKGROUND[name].run(inputs)


def corrupted(head: Head) -> tuple[Head, torch.Tensor]:
    """Noise that grows towards the rim, and a percent of voxels one wrap (0.39 ppm) off.

    The standard deviation handed out with it is that of the noise, and marks the wraps.
    """
    generator = torch.Generator().manual_seed(0)
    rim = torch.from_numpy(distance_transform_edt(head.mask, head.voxel_size_mm)).float()
    sd = 0.002 * (1 + 4 * torch.exp(-rim / 4))
    noise = sd * torch.randn(rim.shape, generator=generator)
    chance, sign = torch.rand((2, *rim.shape), generator=generator)
    wrapped = chance < 0.01 * (0.3 + 4 * torch.exp(-rim / 6))
    wraps = 0.39 * wrapped * torch.where(sign < 0.5, -1.0, 1.0)
    total = head.total_ppm + noise + wraps
    return Head(**{**vars(head), "total_ppm": total}), torch.where(wrapped, MARKED_PPM, sd)


def accuracy(heads: list[Head], noise: bool) -> None:
    print("| head | method | NRMSE % valid | NRMSE % whole | coverage |\n|---|---|---|---|---|")
    for clean in heads:
        head, sd = corrupted(clean) if noise else (clean, None)
        for name in BACKGROUND:
            local = remove(name, head, sd)
            valid, whole = (
                nrmse_percent(local.field_ppm, head.local_ppm, where)
                for where in (local.mask, head.mask)
            )
            coverage = float(local.mask.sum() / head.mask.sum())
            print(
                f"| {head.name} | {name} | {valid:.0f} | {whole:.0f} | {coverage:.2f} |", flush=True
            )


def phantom(size: int = 160) -> Head:
    """Ellipsoid of a large head at 1 mm in a field of random low spatial frequency."""
    axes = [(torch.arange(size) - size / 2) / r for r in (0.42 * size, 0.48 * size, 0.42 * size)]
    x, y, z = torch.meshgrid(*axes, indexing="ij")
    mask = x**2 + y**2 + z**2 <= 1
    field = 0.5 * (x * y + x**2 - z**2) + 0.02 * torch.sin(9 * x) * torch.cos(8 * y + 5 * z)
    return Head(f"{size}^3", field, torch.zeros_like(field), mask, (1.0, 1.0, 1.0), (0.0, 0.0, 1.0))


def cost(name: str, pipe) -> None:
    head = phantom()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    if name == "scipy V-SHARP":
        scipy_vsharp(head.total_ppm.numpy().astype(float), head.mask.numpy(), head.voxel_size_mm)
    else:
        remove(name, head)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    pipe.send((time.process_time() - start, peak / 1024**2))


def speed() -> None:
    """Each method in a process of its own, so that peaks do not hide one another."""
    torch.set_num_threads(1)
    context = multiprocessing.get_context("spawn")
    print("| method | CPU s | peak GB above the input |\n|---|---|---|")
    for name in ["scipy V-SHARP", *BACKGROUND]:
        receive, send = context.Pipe()
        process = context.Process(target=cost, args=(name, send))
        process.start()
        seconds, gigabytes = receive.recv()
        process.join()
        print(f"| {name} | {seconds:.1f} | {gigabytes:.2f} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["accuracy", "speed"])
    parser.add_argument("--noise", action="store_true")
    options = parser.parse_args()
    if options.what == "speed":
        speed()
    else:
        reported = [published("sub-01"), published("sub-02")]
        reported += [simulated(13), simulated(14, tilt_deg=15), simulated(15)]
        reported += [simulated(16, tilt_deg=25)]
        accuracy(reported, options.noise)
