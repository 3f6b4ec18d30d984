"""Time, memory and error of network inference, side by side in one run.

``python benchmarks/inference.py CHECKPOINT LABELS`` takes a published checkpoint with shared
weights (K = 4) and a label map, simulates a head of 160^3 voxels of 1 mm, and runs it

- as the published test script does: complex double precision, conjugate gradients to 1e-10, the
  whole volume, no folding (written anew from its description);
- by this package: the whole volume, the mask and what the denoisers see of it, and in half
  precision.

Each variant runs in a process of its own, with one thread: others would count their waiting as
work. Seconds are of the processor, memory is the peak of the process.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from isdu_bids import images
from isdu_bids.evaluation.metrics import nrmse_percent
from isdu_bids.networks.registry import ISDU
from isdu_bids.networks.unrolled import ISDUQSMNet
from isdu_bids.networks.weights import load_weights
from isdu_bids.physics.dipole import dipole_kernel, forward_field
from isdu_bids.simulation.sampling import nearest_labels
from isdu_bids.simulation.susceptibility import brain_mask, draw_susceptibility

SIZE, NOISE_PPM = 160, 0.002
GEOMETRY = {"voxel_size_mm": (1.0, 1.0, 1.0), "b0_direction": (0.0, 0.0, 1.0)}
VARIANTS = {
    "public way": None,
    "exact, whole volume": {"crop": False},
    "exact": {},
    "half precision": {"precision": "half"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--iterations", type=int, default=4)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--folder", type=Path, default=Path("benchmark-inference"))
    parser.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    if options.variant:
        run(options)
        return
    truth, mask = simulate(options)
    print(f"mask: {100 * mask.mean():.1f} % of {SIZE}^3")
    print("| variant | CPU s | ratio | wall s | peak GB | largest difference (ppm) | NRMSE % |")
    print("|---|---|---|---|---|---|---|")
    first = None
    for variant in VARIANTS:
        command = [sys.executable, __file__, *sys.argv[1:], "--variant", variant]
        subprocess.run(command, check=True)
        facts = json.loads((options.folder / "facts.json").read_text())
        chi = np.load(options.folder / "chi.npy")
        first = first or (facts["cpu_s"], chi)
        print(
            f"| {variant} | {facts['cpu_s']:.1f} | {first[0] / facts['cpu_s']:.1f} "
            f"| {facts['wall_s']:.1f} | {facts['peak_gb']:.2f} "
            f"| {np.abs(chi - first[1]).max():.1e} | {nrmse_percent(chi, truth, mask):.3f} |",
            flush=True,
        )


def simulate(options: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """Write field and mask of a head in the middle of the volume; return truth and mask."""
    labels = torch.from_numpy(images.load_labels(options.labels))
    generator = torch.Generator().manual_seed(0)
    inside = torch.nonzero(brain_mask(labels))
    low, high = inside.amin(0), inside.amax(0)
    # scaled, so that the brain fills 90 % of the volume's edge
    axis = (torch.arange(SIZE) - (SIZE - 1) / 2) * float((high - low).max()) / (0.9 * SIZE)
    grid = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1)
    labels = nearest_labels(labels, grid + (low + high) / 2)
    mask = brain_mask(labels)
    chi = draw_susceptibility(labels, (1.0, 1.0, 1.0), generator)
    field = forward_field(chi, **GEOMETRY) + NOISE_PPM * torch.randn(chi.shape, generator=generator)
    np.save(options.folder / "field.npy", (field * mask).numpy())
    np.save(options.folder / "mask.npy", mask.numpy())
    return chi.numpy(), mask.numpy()


def run(options: argparse.Namespace) -> None:
    """One variant, in this process."""
    torch.set_num_threads(1)
    weights = load_weights(options.checkpoint, iterations=options.iterations)
    field, mask = (
        torch.from_numpy(np.load(options.folder / f"{name}.npy")) for name in ("field", "mask")
    )
    field, mask = field.to(options.device), mask.to(options.device)
    cpu, wall = time.process_time(), time.perf_counter()
    settings = VARIANTS[options.variant]
    with torch.inference_mode():
        if settings is None:
            chi = public_way(weights.network.to(options.device), field, mask)
        else:
            chi = ISDU(field, mask, weights=weights, **GEOMETRY, **settings).chi_ppm
        chi = chi.cpu()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    np.save(options.folder / "chi.npy", chi.numpy())
    facts = {"cpu_s": cpu, "wall_s": wall, "peak_gb": peak_memory_gb()}
    (options.folder / "facts.json").write_text(json.dumps(facts))


def peak_memory_gb() -> float:
    """Peak of this process, PyTorch itself included; getrusage would count its parent's too."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 2**20


def public_way(network: ISDUQSMNet, field: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Unrolled network with data consistency by conjugate gradients in complex double precision."""
    net = network.architecture
    half = dipole_kernel(field.shape, **GEOMETRY, dc_value=net.dc_value)
    impulse = torch.fft.irfftn(half.double(), s=field.shape)
    kernel = torch.fft.fftn(impulse).real.to(field.device)

    def dipole(x: torch.Tensor) -> torch.Tensor:
        return torch.fft.ifftn(kernel * torch.fft.fftn(x))

    projected = dipole(field.to(torch.complex128))
    x = projected
    for k in range(net.iterations):
        index = 0 if net.shared else k
        x = x * mask
        channels = torch.stack([x.real, x.imag])[None].float()
        z = network.denoisers[index]((channels - net.chi_mean_ppm) / net.chi_std_ppm)
        z = (z * net.chi_std_ppm + net.chi_mean_ppm)[0]
        weight = float(network.lambdas[index])
        right = projected + weight * torch.complex(z[0], z[1])
        x = torch.zeros_like(projected)
        residual = right
        direction, squared = residual, residual.abs().square().sum()
        for _ in range(30):
            applied = dipole(dipole(direction)) + weight * direction
            step = squared / (direction.conj() * applied).sum()
            x, residual = x + step * direction, residual - step * applied
            previous, squared = squared, residual.abs().square().sum()
            if float(squared) < 1e-10:
                break
            direction = residual + squared / previous * direction
        x = x * mask
    return x.real.float()


if __name__ == "__main__":
    main()
