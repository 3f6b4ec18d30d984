"""Score dipole inversions on simulated heads and on real fields with a COSMOS reference.

    python benchmarks/scores.py DATA --weights isdu_k4 published.pth:1 --methods tkd l2:weight=0.01
    python benchmarks/scores.py DATA --datasets simulated --noise 0 0.001 0.002 0.005 --quick

DATA holds ``synthseg_label_maps/training_seg_{13..16}.nii.gz`` (heads kept for validation) and
``invivo_patches/*.npz`` with ``local_field_ppm, chi_cosmos_ppm, mask`` (1 mm, B0 along the last
axis). Maps are scored as they come, not referenced: only ``qsm-ci`` ignores an offset. Networks
that see the noise are told the true level of simulated fields, and find that of measured ones on
the zero cone. Set ``OMP_NUM_THREADS``; ``--quick`` takes a few crops of 64 voxels.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
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
from isdu_bids.inversion.result import Inverted
from isdu_bids.networks.registry import PRECISIONS
from isdu_bids.networks.weights import Weights, load_weights
from isdu_bids.physics.dipole import forward_field
from isdu_bids.physics.padding import mask_box
from isdu_bids.simulation.sampling import partial_volume
from isdu_bids.simulation.susceptibility import brain_mask, draw_susceptibility

HEADS = (13, 14, 15, 16)
SUBJECTS = ("patches_subA", "patches_subB", "slab_subC")
GEOMETRY = {"voxel_size_mm": (1.0, 1.0, 1.0), "b0_direction": (0.0, 0.0, 1.0)}
QUICK_SIZE = 64
QUICK_PATCHES = 2


@dataclass(frozen=True)
class Case:
    """A field and the susceptibility that a good inversion would find in it."""

    dataset: str
    name: str
    field_ppm: torch.Tensor
    chi_ppm: torch.Tensor
    mask: torch.Tensor
    noise_ppm: float | None = None


Inversion = Callable[[Case], torch.Tensor]


def simulated_heads(data: Path, quick: bool, noise_levels: Sequence[float]) -> Iterator[Case]:
    for number in HEADS:
        name = f"training_seg_{number}.nii.gz"
        labels = torch.from_numpy(load_labels(data / "synthseg_label_maps" / name))
        labels = labels[mask_box(brain_mask(labels), (2, 2, 2))]
        labels = middle(labels) if quick else labels
        generator = torch.Generator().manual_seed(number)
        mask = brain_mask(labels)
        chi = draw_susceptibility(labels, GEOMETRY["voxel_size_mm"], generator)
        chi = partial_volume(torch.where(mask, chi - chi[mask].mean(), 0.0), 0.1) * mask
        noise, clean = torch.randn(chi.shape, generator=generator), forward_field(chi, **GEOMETRY)
        for level in noise_levels:
            field = (clean + level * noise) * mask
            yield Case(f"simulated, {level:g} ppm", f"head {number}", field, chi, mask, level)


def invivo_patches(data: Path, quick: bool, _: Sequence[float]) -> Iterator[Case]:
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


def inversions(weights: list[str], methods: list[str], precision: str) -> dict[str, Inversion]:
    """Compose what is compared, by its name in the tables."""

    def network(case: Case, loaded: Weights) -> torch.Tensor:
        told = {} if case.noise_ppm is None else {"model_error_ppm": case.noise_ppm}
        given = {"weights": loaded, "precision": precision, **told}
        found = INVERSION["isdu"](case.field_ppm, case.mask, **given, **GEOMETRY)
        return Inverted.of(found).chi_ppm

    def classical(case: Case, text: str) -> torch.Tensor:
        choice = INVERSION.parse(text)
        scan = {"field_ppm": case.field_ppm, "mask": case.mask, **GEOMETRY}
        scan |= {"total_field_ppm": case.field_ppm, "magnitude": case.mask.float()}
        return Inverted.of(INVERSION[choice.name].run(scan, **choice.parameters)).chi_ppm

    chosen: dict[str, Inversion] = {}
    for given in weights:
        name, _, iterations = given.partition(":")
        loaded = load_weights(name, iterations=int(iterations) if iterations else None)
        chosen[Path(given).name] = partial(network, loaded=loaded)
    return chosen | {text: partial(classical, text=text) for text in methods}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", nargs="*", default=[], metavar="NAME|PATH[:K]")
    parser.add_argument(
        "--methods", nargs="*", default=["tkd", "l2:weight=0.01"], metavar="NAME:PARAMETER=VALUE"
    )
    parser.add_argument("--noise", nargs="+", type=float, default=[0.002], metavar="PPM")
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=["paper", "qsm-ci"])
    parser.add_argument("--datasets", nargs="+", choices=DATASETS, default=list(DATASETS))
    parser.add_argument("--precision", choices=PRECISIONS, default="single")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("-o", "--output", type=Path, default=Path("scores.tsv"))
    options = parser.parse_args()
    methods, rows = inversions(options.weights, options.methods, options.precision), []
    for dataset in options.datasets:
        for case in DATASETS[dataset](options.data, options.quick, options.noise):
            print(case.dataset, case.name, tuple(case.chi_ppm.shape), file=sys.stderr, flush=True)
            for method, invert in methods.items():
                chi = invert(case).numpy()
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
