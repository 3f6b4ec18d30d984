"""Tune dipole inversions on some simulated heads and compare them on others.

    python benchmarks/inversions.py DATA [--methods tv rts] [--size 96] [-o FOLDER]

DATA holds ``synthseg_label_maps/training_seg_*.nii.gz``. Cubes are cut from the middle of the heads
at 1 mm, because the whole would take hours. Every method is tuned for NRMSE on heads 9 and 10 with
noise of 0.002 ppm (times ``--tuning-noise``), in ``tuning.tsv``; what is best there is scored on
heads 13 to 16, in ``scores.tsv``: with less and more noise, with a remainder of the background, and
with a bleed, around which the field is noisy and which itself is not scored. ``tfi`` and
``weak-harmonic``, which expect a remainder and are slow, take the penalty of ``tv``, with the usual
noise and with the remainder. Maps are referenced to the mean of the mask. Set
``OMP_NUM_THREADS=1``: seconds are those of the CPU. Rows that FOLDER has already are kept, so that
a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from isdu_bids.evaluation.registry import FAMILIES
from isdu_bids.evaluation.tables import to_markdown
from isdu_bids.images import load_labels
from isdu_bids.inversion.registry import INVERSION
from isdu_bids.inversion.result import Inverted
from isdu_bids.physics.dipole import forward_field
from isdu_bids.physics.padding import mask_box
from isdu_bids.simulation.sampling import partial_volume
from isdu_bids.simulation.susceptibility import brain_mask, draw_susceptibility

TUNED_ON, SHOWN_ON = (9, 10), (13, 14, 15, 16)
VOXEL_SIZE_MM, B0 = (1.0, 1.0, 1.0), (0.0, 0.0, 1.0)
NOISE_PPM = 0.002
#: Thalamus, caudate, putamen, pallidum, accumbens of both sides.
DEEP_GREY = (10, 11, 12, 13, 26, 49, 50, 51, 52, 58)
REMAINDER_PPM = 0.003
BLEED_PPM, BLEED_RADIUS_MM, BLEED_NOISE = 1.5, 4.0, 20.0

#: What is tuned of each method, and the values that are tried.
GRIDS = {
    "tkd": ("threshold", (0.1, 0.15, 0.2, 0.25, 0.3)),
    "tsvd": ("threshold", (0.05, 0.08, 0.1, 0.15)),
    "l2": ("weight", (1e-3, 3e-3, 1e-2, 3e-2)),
    "tikhonov": ("weight", (None,)),
    "tv": ("penalty", (4e-5, 7e-5, 1e-4, 2e-4)),
    "nltv": ("penalty", (7e-5, 1e-4)),
    "medi": ("penalty", (7e-5, 1e-4, 2e-4)),
    "l1": ("penalty", (0.03, 0.06)),
    "rts": ("first_iterations", (8, 16, 32)),
    "ndi": ("iterations", (20, 40, 80)),
}
EXPECT_REMAINDER = ("weak-harmonic", "tfi")


@dataclass(frozen=True)
class Head:
    """Everything that an inversion may take, the truth, and where to compare them."""

    name: str
    inputs: dict[str, Any]
    chi_ppm: torch.Tensor
    scored: torch.Tensor
    labels: torch.Tensor


def simulated(
    data: Path,
    number: int,
    size: int,
    *,
    noise: float = 1.0,
    remainder: bool = False,
    bleed: bool = False,
) -> Head:
    labels = load_labels(data / "synthseg_label_maps" / f"training_seg_{number:02d}.nii.gz")
    labels = middle(torch.from_numpy(labels), size)
    generator = torch.Generator().manual_seed(number)
    mask = brain_mask(labels)
    chi = draw_susceptibility(labels, VOXEL_SIZE_MM, generator)
    chi = partial_volume(torch.where(mask, chi - chi[mask].mean(), 0.0), 0.1) * mask
    sd = torch.full(chi.shape, noise * NOISE_PPM)
    scored = mask
    if bleed:
        distance = distance_from(chi.shape, (0.65, 0.5, 0.6))
        chi = torch.where((distance < BLEED_RADIUS_MM) & mask, BLEED_PPM, chi)
        sd = torch.where(distance < BLEED_RADIUS_MM + 2, BLEED_NOISE * sd, sd)
        scored = mask & (distance >= BLEED_RADIUS_MM + 2)
    field = forward_field(chi, VOXEL_SIZE_MM, B0)
    if remainder:
        field = field + harmonic(chi.shape, mask)
    field = (field + sd * torch.randn(chi.shape, generator=generator)) * mask
    brightness = 0.5 + 0.5 * torch.rand(int(labels.max()) + 1, generator=generator)
    inputs = {
        "field_ppm": field,
        "total_field_ppm": field,
        "mask": mask,
        "magnitude": brightness[labels.long()] * mask,
        "field_sd_ppm": sd,
        "voxel_size_mm": VOXEL_SIZE_MM,
        "b0_direction": B0,
        "field_strength_t": 3.0,
        "echo_times_s": (0.02,),
    }
    return Head(f"head {number}", inputs, chi, scored, labels)


def middle(labels: torch.Tensor, size: int) -> torch.Tensor:
    labels = labels[mask_box(brain_mask(labels), (2, 2, 2))]
    starts = [max(0, (n - size) // 2) for n in labels.shape]
    return labels[tuple(slice(start, start + size) for start in starts)]


def distance_from(shape: torch.Size, place: tuple[float, float, float]) -> torch.Tensor:
    axes = [torch.arange(n) - part * n for n, part in zip(shape, place, strict=True)]
    return sum(axis**2 for axis in torch.meshgrid(*axes, indexing="ij")).sqrt()


def harmonic(shape: torch.Size, mask: torch.Tensor) -> torch.Tensor:
    """Field of two sources well outside the cube, of a known size inside."""
    room = 24
    sources = torch.zeros([n + 2 * room for n in shape])
    sources[room + shape[0] // 2, room + shape[1] // 3, 2] = 1.0
    sources[2, room + shape[1] // 2, room + shape[2] // 2] = -0.5
    inner = tuple(slice(room, room + n) for n in shape)
    field = forward_field(sources, VOXEL_SIZE_MM, B0)[inner]
    field = field - field[mask].mean()
    return REMAINDER_PPM * field / field[mask].std()


def scores(head: Head, method: str, **parameters: Any) -> dict[str, float]:
    start = time.process_time()
    result = Inverted.of(INVERSION[method].run(head.inputs, **parameters))
    seconds = time.process_time() - start
    chi, mask = result.chi_ppm, head.scored
    truth, chi = (torch.where(mask, v - v[mask].mean(), 0.0).numpy() for v in (head.chi_ppm, chi))
    paper = FAMILIES["paper"](chi, truth, mask.numpy())
    grey = torch.where(torch.isin(head.labels, torch.tensor(DEEP_GREY)), head.labels, 0)
    regions = FAMILIES["regions"](chi, truth, mask.numpy(), grey.numpy())
    return {
        "nrmse_percent": paper["nrmse_percent"],
        "hfen_percent": paper["hfen_percent"],
        "xsim": paper["xsim"],
        "deep_grey_slope": regions["slope"],
        "iterations": result.iterations,
        "cpu_s": seconds,
    }


class Table:
    """Rows in a file, written as soon as they are known; those there are not computed again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = pd.read_csv(path, sep="\t") if path.exists() else pd.DataFrame()

    def add(self, key: dict[str, Any], head: Head, parameters: dict[str, Any]) -> None:
        """Score a method, unless that row is there."""
        text = ", ".join(f"{name}={value}" for name, value in parameters.items())
        key = {**key, "head": head.name, "parameters": text}
        known = [self.rows[name] == value for name, value in key.items() if name in self.rows]
        if known and np.logical_and.reduce(known).any():
            return
        row = pd.DataFrame([key | scores(head, key["method"], **parameters)])
        self.rows = pd.concat([self.rows, row], ignore_index=True)
        self.rows.to_csv(self.path, sep="\t", index=False, float_format="%.6g")
        print(row.to_string(header=False), file=sys.stderr, flush=True)


def tuned(table: Table, data: Path, methods: list[str], size: int, noise: float) -> dict[str, Any]:
    """Parameters of the least NRMSE of each method, averaged over the heads to tune on."""
    for number in TUNED_ON:
        head = simulated(data, number, size, noise=noise)
        for method in methods:
            parameter, values = GRIDS[method]
            for value in values:
                table.add({"method": method}, head, {parameter: value})
    chosen = {}
    for method in methods:
        parameter, values = GRIDS[method]
        settings = {f"{parameter}={value}": {parameter: value} for value in values}
        rows = table.rows[table.rows["method"] == method]
        rows = rows[rows["parameters"].isin(list(settings))]
        chosen[method] = settings[rows.groupby("parameters")["nrmse_percent"].mean().idxmin()]
    return chosen


SITUATIONS: dict[str, dict[str, Any]] = {
    **{f"noise x {noise:g}": {"noise": noise} for noise in (0.5, 1.0, 2.0, 4.0)},
    "remainder": {"remainder": True},
    "bleed": {"bleed": True},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--methods", nargs="+", choices=GRIDS, default=list(GRIDS))
    parser.add_argument("--size", type=int, default=64, help="voxels along a cube's edge")
    parser.add_argument("--heads", nargs="*", type=int, default=SHOWN_ON, help="to be scored")
    parser.add_argument(
        "--situations", nargs="+", choices=SITUATIONS, default=list(SITUATIONS), metavar="NAME"
    )
    parser.add_argument("--tuning-noise", type=float, default=1.0)
    parser.add_argument("-o", "--output", type=Path, default=Path())
    options = parser.parse_args()
    folder, data, size = options.output, options.data, options.size
    table = Table(folder / "tuning.tsv")
    chosen = tuned(table, data, options.methods, size, options.tuning_noise)
    print(chosen)
    if "tv" in chosen:
        chosen |= dict.fromkeys(EXPECT_REMAINDER, chosen["tv"])
    table = Table(folder / "scores.tsv")
    for number in options.heads:
        for situation in options.situations:
            head = simulated(data, number, size, **SITUATIONS[situation])
            for method, parameters in chosen.items():
                if method not in EXPECT_REMAINDER or situation in ("noise x 1", "remainder"):
                    table.add({"situation": situation, "method": method}, head, parameters)
    measures = ["nrmse_percent", "hfen_percent", "xsim", "deep_grey_slope", "iterations", "cpu_s"]
    for situation, part in table.rows.groupby("situation", sort=False):
        means = part.groupby("method", sort=False)[measures].mean().round(3)
        print(f"\n{situation}\n\n{to_markdown(means)}")


if __name__ == "__main__":
    main()
