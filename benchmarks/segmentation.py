r"""Dice of a segmentation network on gradient-echo magnitudes painted from held-out label maps.

    python benchmarks/segmentation.py LABELS... [--network small] [--no-chi] [--no-flip]

Each head is painted twice: an early echo (10 ms, 1 mm, whole head) and a late one (30 ms, 0.9 x 0.9
x 2 mm, cut off below the brain, noisier). Networks that see susceptibility get a map as an
inversion leaves it, unless ``--no-chi``. Printed are the Dice of every region, left and right, the
intracranial mask, seconds and peak memory.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from isdu_bids.cli.train import load_head
from isdu_bids.evaluation.metrics import dice
from isdu_bids.evaluation.tables import to_markdown
from isdu_bids.physics.padding import mask_box
from isdu_bids.segmentation.labels import SYNTHSEG_LABELS, label_name
from isdu_bids.segmentation.registry import SEGMENTATION
from isdu_bids.segmentation.segment import segment
from isdu_bids.simulation.contrasts import paint_gradient_echo, regions_of
from isdu_bids.simulation.inverted import as_inverted
from isdu_bids.simulation.random_fields import derived_generator, smooth_noise
from isdu_bids.simulation.sampling import resample_labels
from isdu_bids.simulation.susceptibility import brain_mask, draw_susceptibility

#: Echo time (s), voxel size (mm), noise relative to the brightest tissue, whether there is a neck.
CASES = {
    "early echo, 1 mm": (0.010, (1.0, 1.0, 1.0), 0.02, True),
    "late echo, 0.9 x 0.9 x 2 mm": (0.030, (0.9, 0.9, 2.0), 0.05, False),
}
MARGIN_MM = 12


def paint(
    head: torch.Tensor, case: str, number: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Magnitude, susceptibility (ppm) and labels on the grid of the scan."""
    echo_time_s, size, noise, has_neck = CASES[case]
    generator = derived_generator("segmentation", case, number)
    head = head[mask_box(head > 0, (5, 5, 5))]
    labels = resample_labels(head, (1.0, 1.0, 1.0), size)
    inside = torch.nonzero(brain_mask(labels) & (labels != 24))
    low = 0 if has_neck else max(0, int(inside[:, 2].min()) - round(MARGIN_MM / size[2]))
    high = int(inside[:, 2].max()) + round(MARGIN_MM / size[2])
    labels = labels[:, :, low:high]
    image = paint_gradient_echo(labels, echo_time_s, generator)
    image = image * torch.exp(0.2 * smooth_noise(labels.shape, size, 80.0, generator))
    spread = noise * float(image.quantile(0.99) if image.numel() < 1e7 else image.max())
    real, imaginary = spread * torch.randn((2, *image.shape), generator=generator)
    chi = as_inverted(draw_susceptibility(labels, size, generator), brain_mask(labels), generator)
    return torch.hypot(image + real, imaginary), chi, labels


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("heads", type=Path, nargs="+")
    parser.add_argument("--network", type=SEGMENTATION.parse, default="small")
    parser.add_argument("--no-chi", action="store_true")
    parser.add_argument("--no-flip", action="store_true")
    options = parser.parse_args(arguments)
    method = SEGMENTATION[options.network.name]
    loaded = method(**method.located(options.network.parameters))
    rows: dict[str, dict[str, list[float]]] = {}
    for case in CASES:
        for number, file in enumerate(options.heads):
            image, chi, labels = paint(load_head(file), case, number)
            affine = np.diag([*CASES[case][1], 1.0])
            start = time.perf_counter(), time.process_time()
            found = segment(
                image.numpy(),
                affine,
                network=loaded.network,
                nuclei=loaded.nuclei,
                chi_ppm=None if options.no_chi else chi.numpy(),
                flip=not options.no_flip,
            )
            seconds = time.perf_counter() - start[0], time.process_time() - start[1]
            truth = regions_of(labels).numpy()
            scores = {
                label_name(label): dice(found.labels == label, truth == label)
                for label in SYNTHSEG_LABELS[1:]
            }
            scores["Intracranial"] = dice(found.intracranial, brain_mask(labels).numpy())
            scores["seconds"], scores["CPU seconds"] = seconds
            for name, score in scores.items():
                rows.setdefault(name, {}).setdefault(case, []).append(score)
            mean = np.nanmean([scores[label_name(label)] for label in SYNTHSEG_LABELS[1:]])
            print(case, file.name, tuple(image.shape), f"{mean:.3f}", flush=True)
    table = {
        name: {case: f"{np.nanmean(v):.3f} ({np.nanmin(v):.3f})" for case, v in cases.items()}
        for name, cases in rows.items()
    }
    print(f"\nMean (lowest) of {len(options.heads)} heads\n")
    print(to_markdown(pd.DataFrame(table).T.rename_axis("region")))
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"peak memory {peak_gb:.2f} GB")


if __name__ == "__main__":
    main()
