"""Whether the standard deviation of a map ranks its error, on simulated local fields with truth.

``python benchmarks/uncertainty.py TRUTH --weights NAME|PATH`` takes the truth of a simulated BIDS
dataset (folders ``sub-*/anat`` with ``Chimap``, ``fieldmap-local``, ``desc-brain_mask``), adds
noise, and prints per head: the rank correlation of standard deviation and absolute error over
voxels, the mean absolute error in tenths of voxels ordered by standard deviation, and how large the
error is against it.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr

from isdu_bids import images
from isdu_bids.geometry import b0_direction, voxel_size_mm
from isdu_bids.inversion.registry import INVERSION
from isdu_bids.inversion.result import Inverted
from isdu_bids.inversion.uncertainty import standard_deviation
from isdu_bids.networks.weights import load_weights

NOISE_PPM = 0.002


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("truth", type=Path)
    parser.add_argument("--weights", required=True)
    options = parser.parse_args()
    methods = {
        "isdu": partial(INVERSION["isdu"], weights=load_weights(options.weights)),
        "l2": partial(INVERSION["l2"], weight=0.01),
    }
    print("| head | method | rank correlation | error by tenth of sd (ppb) | median error / sd |")
    print("|---|---|---|---|---|")
    for folder in sorted(options.truth.glob("sub-*/anat")):
        chi, field, mask = (
            images.load_volume(next(folder.glob(f"*_{name}.nii*")))
            for name in ("Chimap", "fieldmap-local", "desc-brain_mask")
        )
        inside = torch.from_numpy(mask.data > 0)
        generator = torch.Generator().manual_seed(0)
        noise = NOISE_PPM * torch.randn(inside.shape, generator=generator)
        noisy = (torch.from_numpy(field.data) + noise) * inside
        geometry = {
            "voxel_size_mm": voxel_size_mm(chi.affine),
            "b0_direction": b0_direction(chi.affine),
        }
        for name, method in methods.items():
            found = Inverted.of(method(noisy, inside, **geometry)).chi_ppm[inside].numpy()
            noise_sd = torch.full(inside.shape, NOISE_PPM)
            inputs = {"field_ppm": noisy, "mask": inside, **geometry}
            sd = standard_deviation(
                lambda given, method=method: method(**given), inputs, field_sd_ppm=noise_sd
            )
            sd = sd[inside].numpy()
            truth = chi.data[inside.numpy()]
            error = np.abs((found - found.mean()) - (truth - truth.mean()))
            tenths = [1000 * part.mean() for part in np.array_split(error[np.argsort(sd)], 10)]
            print(
                f"| {folder.parent.name} | {name} | {spearmanr(sd, error).statistic:.2f} "
                f"| {' '.join(f'{t:.0f}' for t in tenths)} | {np.median(error / sd):.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
