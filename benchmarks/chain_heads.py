"""Simulated scans for `chain.py`, as a BIDS dataset with truth, at 2 mm.

    python benchmarks/chain_heads.py LABEL_MAPS OUTPUT [--tuning]

LABEL_MAPS holds ``training_seg_NN.nii.gz``. A head is simulated at the 1 mm of its label map, and
the complex signal is averaged over cubes of 2 mm: so the field of an oblique B0 does not ring, and
voxels dephase and mix tissues as in a scanner. Four heads to report on, or two to choose on.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from math import cos, radians, sin
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from isdu_bids.bids.simulated import affine_of_b0, write_simulated_dataset, write_simulated_scan
from isdu_bids.geometry import Triple
from isdu_bids.images import load_labels
from isdu_bids.physics.padding import mask_box
from isdu_bids.simulation.random_fields import derived_generator
from isdu_bids.simulation.sampling import block_mean
from isdu_bids.simulation.scan import SimulatedScan, simulate_scan
from isdu_bids.simulation.susceptibility import brain_mask

#: Label map: tilt of B0 (degrees) and field strength (T).
REPORTED = {13: (0, 3.0), 14: (15, 7.0), 15: (0, 7.0), 16: (25, 3.0)}
TUNING = {2: (0, 3.0), 5: (15, 7.0)}
ECHO_TIMES_S = {3.0: (0.004, 0.012, 0.020, 0.028), 7.0: (0.003, 0.008, 0.013, 0.018)}
FACTOR = 2
#: Maps with stray bone and air deep inside the brain.
STRAY = (14, 16)
FLUID = 24
#: Of grey matter at 2 mm.
SNR = 80.0


def without_islands(labels: torch.Tensor) -> torch.Tensor:
    """Labels with fluid for whatever is no brain, and not connected to what is around it."""
    pieces, _ = ndimage.label(~brain_mask(labels).numpy())
    sizes = np.bincount(pieces.ravel())
    outside = 1 + int(sizes[1:].argmax())
    return torch.where(torch.from_numpy((pieces > 0) & (pieces != outside)), FLUID, labels)


def averaged(scan: SimulatedScan) -> SimulatedScan:
    """Scan on a grid that is coarser by `FACTOR`."""
    signal = torch.polar(scan.magnitude, scan.phase_rad)
    signal = torch.complex(block_mean(signal.real, FACTOR), block_mean(signal.imag, FACTOR))
    chi, total, local, inside = (
        block_mean(volume, FACTOR)
        for volume in (
            scan.chi_ppm,
            scan.total_field_ppm,
            scan.local_field_ppm,
            scan.brain_mask.float(),
        )
    )
    pieces, count = ndimage.label(inside.numpy() > 0.75)
    largest = max(range(1, count + 1), key=lambda piece: (pieces == piece).sum())
    brain = torch.from_numpy(pieces == largest)
    return replace(
        scan,
        magnitude=signal.abs(),
        phase_rad=signal.angle(),
        chi_ppm=chi,
        total_field_ppm=total,
        local_field_ppm=local,
        brain_mask=brain,
    )


def direction(tilt_deg: float) -> Triple:
    """B0 turned from the last axis, about both others."""
    tilt = radians(tilt_deg)
    return 0.6 * sin(tilt), 0.8 * sin(tilt), cos(tilt)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("label_maps", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--tuning", action="store_true", help="the heads to choose on")
    options = parser.parse_args()
    write_simulated_dataset(options.output)
    for number, (tilt_deg, tesla) in (TUNING if options.tuning else REPORTED).items():
        labels = torch.from_numpy(
            load_labels(options.label_maps / f"training_seg_{number:02d}.nii.gz")
        )
        labels = labels[mask_box(labels != 0, (3, 3, 3))]
        labels = without_islands(labels) if number in STRAY else labels
        b0 = direction(tilt_deg)
        scan = averaged(
            simulate_scan(
                labels,
                derived_generator("chain", number),
                voxel_size_mm=(1.0, 1.0, 1.0),
                b0_direction=b0,
                echo_times_s=ECHO_TIMES_S[tesla],
                field_strength_t=tesla,
                snr=SNR / FACTOR**1.5,
            )
        )
        affine = affine_of_b0(scan.chi_ppm.shape, (float(FACTOR),) * 3, b0)
        write_simulated_scan(
            options.output, f"{number:02d}", scan, affine, ECHO_TIMES_S[tesla], tesla
        )
        print(
            f"sub-{number:02d}: {tuple(scan.chi_ppm.shape)}, {tilt_deg} degrees, {tesla} T",
            flush=True,
        )


if __name__ == "__main__":
    main()
