"""``isdu-qsm simulate``: gradient-echo scans of label maps, as a BIDS dataset with its truth."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from math import cos, radians, sin
from pathlib import Path

import nibabel as nib
import torch

from isdu_bids.bids.simulated import affine_of_b0, write_simulated_dataset, write_simulated_scan
from isdu_bids.cli.arguments import Parser
from isdu_bids.cli.train import load_head
from isdu_bids.errors import UsageError
from isdu_bids.geometry import Triple, unit_vector, voxel_size_mm
from isdu_bids.physics.padding import mask_box
from isdu_bids.simulation.random_fields import derived_generator
from isdu_bids.simulation.sampling import resample_labels
from isdu_bids.simulation.scan import simulate_scan

_AIR_MARGIN_VOXELS = 4


def add_arguments(parser: Parser) -> None:
    """Add what the command takes."""
    parser.add_argument(
        "labels",
        type=Path,
        nargs="+",
        metavar="LABELS",
        help="label maps of whole heads (NIfTI, FreeSurfer labels, air 0), one subject each",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="new folder")
    parser.add_argument("--subjects", type=int, metavar="N", help="(default: one per label map)")
    parser.add_argument(
        "--voxel-size",
        type=float,
        nargs="+",
        metavar="MM",
        help="one or three edge lengths (default: those of the label map)",
    )
    tilt = parser.add_mutually_exclusive_group()
    tilt.add_argument(
        "--b0-tilt", type=float, default=0.0, metavar="DEG", help="of the slices, about left-right"
    )
    tilt.add_argument(
        "--b0-direction",
        type=float,
        nargs=3,
        metavar=("X", "Y", "Z"),
        help="B0 along the voxel axes (right, anterior, superior)",
    )
    parser.add_argument(
        "--echo-times",
        type=float,
        nargs="+",
        default=(0.004, 0.010, 0.016, 0.022),
        metavar="S",
        help="in seconds (default: %(default)s)",
    )
    parser.add_argument("--field-strength", type=float, default=3.0, metavar="T")
    parser.add_argument(
        "--noise",
        type=float,
        default=1.25,
        metavar="PERCENT",
        help="standard deviation relative to grey matter at echo time 0 (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    tilt = radians(options.b0_tilt)
    run_simulation(
        options.labels,
        options.output,
        n_subjects=options.subjects,
        voxel_mm=options.voxel_size,
        b0_direction=options.b0_direction or (0.0, sin(tilt), cos(tilt)),
        echo_times_s=options.echo_times,
        field_strength_t=options.field_strength,
        noise_percent=options.noise,
        seed=options.seed,
    )


def run_simulation(
    label_files: Sequence[Path],
    dataset: Path,
    *,
    n_subjects: int | None = None,
    voxel_mm: Sequence[float] | None = None,
    b0_direction: Sequence[float] = (0.0, 0.0, 1.0),
    echo_times_s: Sequence[float] = (0.004, 0.010, 0.016, 0.022),
    field_strength_t: float = 3.0,
    noise_percent: float = 1.25,
    seed: int = 0,
) -> Path:
    """Simulate one scan per subject and write them; the same call writes the same bytes.

    Parameters
    ----------
    label_files
        FreeSurfer-style label maps of whole heads; subjects take them in turn.
    dataset
        Folder to write, new or empty.
    n_subjects
        By default one per label map; more get new susceptibility in the same anatomy.
    voxel_mm
        One or three edge lengths; by default those of the label map.
    b0_direction
        Along the voxel axes (right, anterior, superior).
    echo_times_s, field_strength_t
        The acquisition.
    noise_percent
        Standard deviation of the noise, relative to grey matter at echo time zero.
    seed
        Of everything.

    Raises
    ------
    UsageError
        For a folder that holds something, or values that make no scan.
    """
    if dataset.exists() and any(dataset.iterdir()):
        raise UsageError(f"{dataset} is not empty; choose a new folder")
    if sorted(set(echo_times_s)) != list(echo_times_s) or not 0 < echo_times_s[0] < 0.2:
        raise UsageError("echo times must rise; they are in seconds, e.g. 0.005 0.010")
    if noise_percent < 0 or (n_subjects is not None and n_subjects < 1):
        raise UsageError("noise cannot be negative, and there must be at least one subject")
    if voxel_mm and (len(voxel_mm) not in (1, 3) or not all(0.3 <= mm <= 10 for mm in voxel_mm)):
        raise UsageError("--voxel-size takes one or three edge lengths of 0.3 to 10 mm")
    direction = unit_vector(b0_direction)
    write_simulated_dataset(dataset)
    for i in range(n_subjects or len(label_files)):
        labels, size = _head(label_files[i % len(label_files)], voxel_mm)
        scan = simulate_scan(
            labels,
            derived_generator(seed, "subject", i),
            voxel_size_mm=size,
            b0_direction=direction,
            echo_times_s=echo_times_s,
            field_strength_t=field_strength_t,
            snr=100 / noise_percent if noise_percent else float("inf"),
        )
        affine = affine_of_b0(labels.shape, size, direction)
        write_simulated_scan(
            dataset, f"{i + 1:02d}", scan, affine, echo_times_s, field_strength_t, labels
        )
        print(f"sub-{i + 1:02d}: {' x '.join(map(str, labels.shape))} voxels")
    return dataset


def _head(file: Path, voxel_mm: Sequence[float] | None) -> tuple[torch.Tensor, Triple]:
    """Labels around a head on the grid of the scan, and its voxel size."""
    labels = load_head(file)
    source = voxel_size_mm(nib.as_closest_canonical(nib.load(file)).affine)
    labels = labels[mask_box(labels != 0, (_AIR_MARGIN_VOXELS,) * 3)]
    if not voxel_mm:
        return labels, source
    x, y, z = voxel_mm if len(voxel_mm) == 3 else (*voxel_mm, *voxel_mm, *voxel_mm)
    return resample_labels(labels, source, (x, y, z)), (x, y, z)
