"""``isdu-qsm demo``: the main job on a simulated head, compared with its truth."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from isdu_bids import images
from isdu_bids.bids.simulated import (
    TRUTH_FOLDER,
    affine_of_b0,
    write_simulated_dataset,
    write_simulated_scan,
)
from isdu_bids.cli import app
from isdu_bids.cli.arguments import Parser
from isdu_bids.errors import IsduError
from isdu_bids.evaluation.metrics import dice, nrmse_percent, slope
from isdu_bids.geometry import b0_direction, voxel_size_mm
from isdu_bids.simulation.demo_head import demo_head
from isdu_bids.simulation.scan import simulate_scan

SHAPE = (84, 100, 92)
ECHO_TIMES_S = (0.004, 0.010, 0.016, 0.022)
FIELD_STRENGTH_T = 3.0
#: 2 mm voxels, slices tilted by 12 degrees: nothing of the pipeline may assume an axial volume.
TILT_DEG = 12.0


def add_arguments(parser: Parser) -> None:
    """Add what the command takes."""
    parser.add_argument(
        "folder",
        type=Path,
        nargs="?",
        default=Path("isdu-demo"),
        help="where to write (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the simulation")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    run_demo(options.folder, options.seed)


def run_demo(folder: Path, seed: int = 0) -> None:
    """Simulate a head, run ``isdu-bids`` on it, and print how close the results are.

    Raises
    ------
    IsduError
        If the run fails.
    """
    dataset, output = folder / "bids", folder / "derivatives"
    affine = tilted_affine()
    generator = torch.Generator().manual_seed(seed)
    size = voxel_size_mm(affine)
    print(f"Simulating a head of {' x '.join(map(str, SHAPE))} voxels ...")
    scan = simulate_scan(
        demo_head(SHAPE, size, generator),
        generator,
        voxel_size_mm=size,
        b0_direction=b0_direction(affine),
        echo_times_s=ECHO_TIMES_S,
        field_strength_t=FIELD_STRENGTH_T,
    )
    write_simulated_dataset(dataset)
    write_simulated_scan(dataset, "01", scan, affine, ECHO_TIMES_S, FIELD_STRENGTH_T)
    arguments = [str(dataset), str(output), "participant", "-w", str(folder / "work")]
    print("Running: isdu-bids " + " ".join(arguments))
    if code := app.main(arguments):
        raise IsduError(f"the demonstration failed with exit code {code}; see the messages above")
    print(compare(dataset / TRUTH_FOLDER, output))


def tilted_affine() -> np.ndarray:
    """Affine of the demonstration: 2 mm, tilted about the left-right axis, centred."""
    tilt = np.deg2rad(TILT_DEG)
    return affine_of_b0(SHAPE, (2.0, 2.0, 2.0), (0.0, np.sin(tilt), np.cos(tilt)))


def compare(truth: Path, output: Path) -> str:
    """Table of errors of the demonstration's results."""

    def load(root: Path, name: str) -> np.ndarray:
        return images.load_volume(root / "sub-01" / name.format("sub-01")).data

    valid = load(output, "anat/{}_desc-eroded_mask.nii.gz") > 0
    brain = load(truth, "anat/{}_desc-brain_mask.nii.gz") > 0
    mask = load(output, "anat/{}_desc-brain_mask.nii.gz") > 0
    lines = ["", "Compared with the simulated truth (inside both masks, demeaned):"]
    for label, name in (
        ("total field", "fmap/{}_desc-total_fieldmap.nii.gz"),
        ("local field", "fmap/{}_desc-local_fieldmap.nii.gz"),
        ("susceptibility", "anat/{}_Chimap.nii.gz"),
    ):
        estimate, reference = load(output, name), load(truth, name)
        inside = brain & valid
        lines.append(
            f"  {label:15s} NRMSE {nrmse_percent(estimate, reference, inside):6.1f} %"
            f"   slope {slope(estimate, reference, inside):5.2f}"
        )
    lines.append(f"  {'brain mask':15s} Dice {dice(mask, brain):6.3f}")
    lines.append(
        f"  {'coverage':15s} {100 * (valid & brain).sum() / brain.sum():6.1f} % of the brain"
    )
    lines.append(f"\nReport: {(output / 'sub-01.html').absolute()}")
    return "\n".join(lines)
