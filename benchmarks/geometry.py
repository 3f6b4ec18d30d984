"""Which grid a network should run on: resolution x tilt of B0 x policy, on simulated heads.

``python benchmarks/geometry.py LABELS... --weights NAME|PATH[:K] ... -o scores.tsv`` simulates the
middle of each head at 0.6 mm, its field under B0 tilted by 0 to 90 degrees, averages both to each
resolution, adds noise, and prints the demeaned NRMSE (%) of every policy.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import affine_transform, gaussian_filter

from isdu_bids import images
from isdu_bids.evaluation.metrics import nrmse_percent
from isdu_bids.networks.inference import auto_grid
from isdu_bids.networks.registry import ISDU
from isdu_bids.networks.weights import load_weights
from isdu_bids.physics.dipole import forward_field
from isdu_bids.simulation.sampling import nearest_labels
from isdu_bids.simulation.susceptibility import brain_mask, draw_susceptibility

FINE_MM, RADIUS_MM, NOISE_PPM = 0.6, 36.0, 0.002
RESOLUTIONS_MM = ((1.0, 1.0, 1.0), (0.6, 0.6, 0.6), (0.86, 0.86, 2.0), (3.0, 3.0, 3.0))
TILTS_DEG = (0, 15, 30, 60, 90)
POLICIES = ("native", "resampled", "aligned")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("labels", type=Path, nargs="+")
    parser.add_argument("--weights", nargs="+", required=True, metavar="NAME|PATH[:K]")
    parser.add_argument("--tilts", type=int, nargs="+", default=TILTS_DEG, metavar="DEG")
    parser.add_argument("-o", "--output", type=Path, default=Path("geometry.tsv"))
    options = parser.parse_args()
    networks = []
    for word in options.weights:
        path, _, iterations = word.partition(":")
        networks.append(load_weights(path, iterations=int(iterations) if iterations else None))
    scores = defaultdict(list)
    with options.output.open("w", newline="") as stream:
        table = csv.writer(stream, delimiter="\t")
        table.writerow(["head", "weights", "resolution", "tilt_deg", "policy", "nrmse_percent"])
        for head in options.labels:
            for size, tilt, geometry, field, mask, truth in scans(head, options.tilts):
                for weights in networks:
                    for policy in POLICIES:
                        if policy == "native" or not same_as_native(policy, size, tilt):
                            found = ISDU(
                                field,
                                mask,
                                weights=weights,
                                grid=policy,
                                precision="half",
                                **geometry,
                            )
                            error = nrmse_percent(found.chi_ppm.numpy(), truth, mask.numpy())
                        scores[weights.name, size, tilt, policy].append(error)
                        resolution = "x".join(f"{s:g}" for s in size)
                        row = [head.name, weights.name, resolution, tilt, policy, f"{error:.2f}"]
                        table.writerow(row)
                        stream.flush()
    for weights in networks:
        print(f"\n{weights.name}\n\n| mm | tilt | {' | '.join(POLICIES)} | default |")
        print("|---" * (3 + len(POLICIES)) + "|")
        for size in RESOLUTIONS_MM:
            for tilt in options.tilts:
                means = [np.mean(scores[weights.name, size, tilt, p]) for p in POLICIES]
                default = auto_grid(weights, size, direction(tilt))
                numbers = " | ".join(f"{mean:.1f}" for mean in means)
                print(f"| {'x'.join(f'{s:g}' for s in size)} | {tilt} | {numbers} | {default} |")


def same_as_native(policy: str, size_mm: tuple[float, float, float], tilt_deg: float) -> bool:
    """Whether a policy changes nothing: isotropic voxels, B0 along the axis."""
    isotropic = len(set(size_mm)) == 1
    return isotropic and (policy == "resampled" or tilt_deg == 0)


def direction(tilt_deg: float) -> tuple[float, float, float]:
    """B0 tilted in a plane that is no plane of the grid (up to 15 degrees out of x-z)."""
    tilt, azimuth = math.radians(tilt_deg), math.radians(15)
    return (
        math.sin(tilt) * math.cos(azimuth),
        math.sin(tilt) * math.sin(azimuth),
        math.cos(tilt),
    )


def scans(head: Path, tilts_deg: list[int]):
    """Every resolution and tilt of one head."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.from_numpy(images.load_labels(head))
    n = 2 * math.ceil(RADIUS_MM / FINE_MM) + 12
    axis = (torch.arange(n) - (n - 1) / 2) * FINE_MM
    grid = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1)
    centre = torch.nonzero(torch.isin(labels, torch.tensor([10, 49]))).float().mean(0)  # thalami
    fine = nearest_labels(labels, grid + centre)
    ball = grid.norm(dim=-1) < RADIUS_MM
    chi = draw_susceptibility(fine, (FINE_MM,) * 3, generator) * ball
    mask = brain_mask(fine) & ball
    chi = torch.where(mask, chi - chi[mask].mean(), 0)
    for tilt in tilts_deg:
        field = forward_field(chi, (FINE_MM,) * 3, direction(tilt))
        for size in RESOLUTIONS_MM:
            coarse = [averaged(volume.numpy(), size) for volume in (field, chi, mask.float())]
            inside = torch.from_numpy(coarse[2] > 0.9)
            noise = NOISE_PPM * torch.randn(inside.shape, generator=generator)
            geometry = {"voxel_size_mm": size, "b0_direction": direction(tilt)}
            yield size, tilt, geometry, torch.from_numpy(coarse[0]) + noise, inside, coarse[1]


def averaged(volume: np.ndarray, size_mm: tuple[float, float, float]) -> np.ndarray:
    """Volume on a coarser grid with the same middle, blurred to its voxel size."""
    ratio = np.array(size_mm) / FINE_MM
    if np.allclose(ratio, 1):
        return volume.astype(np.float32)
    blurred = gaussian_filter(volume, np.sqrt(np.maximum(ratio**2 - 1, 0)) / 2.355)
    shape = np.floor(np.array(volume.shape) / ratio).astype(int)
    offset = (np.array(volume.shape) - 1) / 2 - ratio * (shape - 1) / 2
    return affine_transform(blurred, ratio, offset, tuple(shape), order=3).astype(np.float32)


if __name__ == "__main__":
    main()
