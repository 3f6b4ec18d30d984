"""Score dipole inversions on simulated heads and on real fields with a COSMOS reference.

    python benchmarks/scores.py DATA --weights isdu_k4 published.pth:1 [--quick]

DATA holds ``synthseg_label_maps/training_seg_{13..16}.nii.gz`` (heads kept for validation) and
``invivo_patches/*.npz`` with ``local_field_ppm, chi_cosmos_ppm, mask`` (1 mm, B0 along the last
axis). Maps are scored as they come, not referenced: only ``qsm-ci`` ignores an offset. Set
``OMP_NUM_THREADS``; ``--quick`` takes a few crops of 64 voxels.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from isdu_bids.evaluation.registry import FAMILIES
from isdu_bids.evaluation.tables import SCORE_COLUMNS, method_by_metric, summarise, to_markdown
from isdu_bids.images import load_labels
from isdu_bids.inversion.registry import INVERSION
from isdu_bids.networks.registry import PRECISIONS
from isdu_bids.networks.weights import load_weights
from isdu_bids.physics.dipole import forward_field
from isdu_bids.physics.padding import mask_box
from isdu_bids.simulation.sampling import partial_volume
from isdu_bids.simulation.susceptibility import brain_mask, draw_susceptibility

HEADS = (13, 14, 15, 16)
SUBJECTS = ("patches_subA", "patches_subB", "slab_subC")
GEOMETRY = {"voxel_size_mm": (1.0, 1.0, 1.0), "b0_direction": (0.0, 0.0, 1.0)}
NOISE_PPM = 0.002
QUICK_SIZE = 64
QUICK_PATCHES = 2

Inversion = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Case:
    """A field and the susceptibility that a good inversion would find in it."""

    dataset: str
    name: str
    field_ppm: torch.Tensor
    chi_ppm: torch.Tensor
    mask: torch.Tensor


def simulated_heads(data: Path, quick: bool) -> Iterator[Case]:
    for number in HEADS:
        name = f"training_seg_{number}.nii.gz"
        labels = torch.from_numpy(load_labels(data / "synthseg_label_maps" / name))
        labels = labels[mask_box(brain_mask(labels), (2, 2, 2))]
        labels = middle(labels) if quick else labels
        generator = torch.Generator().manual_seed(number)
        mask = brain_mask(labels)
        chi = draw_susceptibility(labels, GEOMETRY["voxel_size_mm"], generator)
        chi = partial_volume(torch.where(mask, chi - chi[mask].mean(), 0.0), 0.1) * mask
        noise = NOISE_PPM * torch.randn(chi.shape, generator=generator)
        field = (forward_field(chi, **GEOMETRY) + noise) * mask
        yield Case("simulated", f"head {number}", field, chi, mask)


def invivo_patches(data: Path, quick: bool) -> Iterator[Case]:
    for subject in SUBJECTS:
        with np.load(data / "invivo_patches" / f"{subject}.npz") as saved:
            volumes = [
                torch.from_numpy(saved[key]).reshape(-1, *saved[key].shape[-3:])
                for key in ("local_field_ppm", "chi_cosmos_ppm", "mask")
            ]
        for i in range(QUICK_PATCHES if quick and len(volumes[0]) > 1 else len(volumes[0])):
            field, chi, mask = (middle(v[i]) if quick else v[i] for v in volumes)
            yield Case("invivo", f"{subject} {i}", field * mask, chi * mask, mask > 0)


def middle(volume: torch.Tensor) -> torch.Tensor:
    starts = [max(0, (n - QUICK_SIZE) // 2) for n in volume.shape]
    return volume[tuple(slice(start, start + QUICK_SIZE) for start in starts)]


def inversions(weights: list[str], l2_weights: list[float], precision: str) -> dict[str, Inversion]:
    methods = {}
    for given in weights:
        name, _, iterations = given.partition(":")
        loaded = load_weights(name, iterations=int(iterations) if iterations else None)
        network = partial(INVERSION["isdu"], weights=loaded, precision=precision)
        methods[Path(given).name] = partial(network, **GEOMETRY)
    methods["tkd"] = partial(INVERSION["tkd"], **GEOMETRY)
    for weight in l2_weights:
        methods[f"l2 {weight:g}"] = partial(INVERSION["l2"], weight=weight, **GEOMETRY)
    return methods


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", nargs="*", default=[], metavar="NAME|PATH[:K]")
    parser.add_argument("--l2", nargs="*", type=float, default=[1e-3, 3e-3, 1e-2], metavar="WEIGHT")
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=["paper", "qsm-ci"])
    parser.add_argument("--datasets", nargs="+", choices=DATASETS, default=list(DATASETS))
    parser.add_argument("--precision", choices=PRECISIONS, default="single")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("-o", "--output", type=Path, default=Path("scores.tsv"))
    options = parser.parse_args()
    methods, rows = inversions(options.weights, options.l2, options.precision), []
    for dataset in options.datasets:
        for case in DATASETS[dataset](options.data, options.quick):
            print(case.dataset, case.name, tuple(case.chi_ppm.shape), file=sys.stderr, flush=True)
            for method, invert in methods.items():
                chi = invert(case.field_ppm, case.mask).numpy()
                for family in options.families:
                    truth, mask = case.chi_ppm.numpy(), case.mask.numpy()
                    scores = FAMILIES[family](chi, truth, mask)
                    rows += [
                        (case.dataset, case.name, method, family, *item) for item in scores.items()
                    ]
    table = pd.DataFrame(rows, columns=["dataset", *SCORE_COLUMNS])
    table.to_csv(options.output, sep="\t", index=False, float_format="%.6g")
    for dataset, scores in table.groupby("dataset", sort=False):
        print(f"\n{dataset}\n\n{to_markdown(method_by_metric(summarise(scores)))}")


DATASETS = {"simulated": simulated_heads, "invivo": invivo_patches}

if __name__ == "__main__":
    main()
