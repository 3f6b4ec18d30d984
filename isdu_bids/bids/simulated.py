"""Simulated scans as a BIDS dataset, with the truth as a derivative of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from isdu_bids import __version__
from isdu_bids.files import beside, write_json, write_text
from isdu_bids.images import save_volume
from isdu_bids.simulation.scan import SimulatedScan
from isdu_bids.simulation.tissues import label_names
from isdu_bids.units import ppm_to_hz

TRUTH_FOLDER = "derivatives/simulation-truth"


def write_simulated_dataset(dataset: Path) -> None:
    """Write the files at the root of the dataset and of its truth."""
    raw = {
        "Name": "Simulated gradient-echo scans",
        "BIDSVersion": "1.10.1",
        "DatasetType": "raw",
        "License": "CC0",
        "Authors": ["isdu-bids", "its simulation"],
    }
    generator = {"Name": "simulation-truth", "Version": __version__}
    write_json(dataset / "dataset_description.json", raw)
    write_text(dataset / "README.md", "Scans simulated by isdu-bids: no person was measured.\n")
    truth = {**raw, "Name": "Truth of the simulated scans", "DatasetType": "derivative"}
    write_json(
        dataset / TRUTH_FOLDER / "dataset_description.json", {**truth, "GeneratedBy": [generator]}
    )


def affine_of_b0(
    shape: Sequence[int], voxel_size_mm: Sequence[float], b0_direction: Sequence[float]
) -> npt.NDArray[np.float64]:
    """Affine of a volume, centred, whose voxel axes see B0 along a unit vector.

    The rotation's last row is B0, as the scanner's z axis is; the first voxel axis stays as close
    to the scanner's x axis as it can.

    Examples
    --------
    >>> affine_of_b0((3, 3, 3), (2.0, 2.0, 2.0), (0.0, 0.0, 1.0))[:3].tolist()
    [[2.0, 0.0, 0.0, -2.0], [0.0, 2.0, 0.0, -2.0], [0.0, 0.0, 2.0, -2.0]]
    """
    z = np.asarray(b0_direction, dtype=float)
    towards = np.eye(3)[0 if abs(z[0]) < 0.9 else 1]
    x = towards - (towards @ z) * z
    x = x / np.linalg.norm(x)
    affine = np.eye(4)
    affine[:3, :3] = np.stack([x, np.cross(z, x), z]) * np.asarray(voxel_size_mm)
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine + 0.0  # no negative zeros


def write_simulated_scan(
    dataset: Path,
    subject: str,
    scan: SimulatedScan,
    affine: npt.ArrayLike,
    echo_times_s: Sequence[float],
    field_strength_t: float,
    labels: torch.Tensor | None = None,
) -> None:
    """Write one simulated scan as ``MEGRE`` images, and its truth.

    Truth: ``Chimap`` (ppm), ``desc-total`` and ``desc-local`` field maps (Hz), ``desc-brain_mask``
    and, if given, the labels with their names.
    """
    folder = dataset / f"sub-{subject}" / "anat"
    for part, stack in (("mag", scan.magnitude), ("phase", scan.phase_rad)):
        for echo, (time_s, volume) in enumerate(zip(echo_times_s, stack, strict=True), start=1):
            name = f"sub-{subject}_echo-{echo}_part-{part}_MEGRE"
            save_volume(volume.numpy(), affine, folder / f"{name}.nii.gz")
            sidecar = {
                "EchoTime": time_s,
                "MagneticFieldStrength": field_strength_t,
                "Manufacturer": "isdu-bids simulation",
            }
            write_json(
                folder / f"{name}.json", sidecar | ({"Units": "rad"} if part == "phase" else {})
            )
    truth = dataset / TRUTH_FOLDER / f"sub-{subject}"
    inside = scan.brain_mask.numpy()
    volumes = {
        "anat/{}_Chimap": scan.chi_ppm,
        "fmap/{}_desc-total_fieldmap": ppm_to_hz(scan.total_field_ppm, field_strength_t),
        "fmap/{}_desc-local_fieldmap": ppm_to_hz(scan.local_field_ppm, field_strength_t),
        "fmap/{}_magnitude": scan.magnitude[0],
    }
    for name, volume in volumes.items():
        path = truth / (name.format(f"sub-{subject}") + ".nii.gz")
        save_volume(volume.numpy() * inside, affine, path)
        units = {"Chimap": "ppm", "fieldmap": "Hz"}.get(name.rsplit("_", 1)[-1], "arbitrary")
        fields = {"Units": units, "SkullStripped": True, "Description": "Simulated truth"}
        write_json(beside(path, ".json"), fields)
    path = truth / "anat" / f"sub-{subject}_desc-brain_mask.nii.gz"
    save_volume(inside.astype(np.uint8), affine, path)
    write_json(beside(path, ".json"), {"Type": "Brain", "Description": "Simulated truth"})
    if labels is not None:
        path = truth / "anat" / f"sub-{subject}_dseg.nii.gz"
        save_volume(labels.numpy(), affine, path)
        names = label_names(labels.unique().tolist())
        rows = "".join(f"{index}\t{name}\n" for index, name in names.items())
        write_text(beside(path, ".tsv"), f"index\tname\n{rows}")
        write_json(
            beside(path, ".json"),
            {
                "Manual": False,
                "SpatialReference": "orig",
                "Description": "Labels that the scan was simulated from",
            },
        )
