"""Known faults of a scan, and the flags that they raise.

    python benchmarks/fault_flags.py DATASET [DATASET ...] [-p LABEL]

The scan of the participant (one of each dataset, with three echoes or more) goes through
`isdu-bids` as it is, and again with one fault at a time. A row per fault says how far the map is
from that of the sound scan, and the flags that the sound scan does not have, or that the scan was
refused and why.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from scipy.ndimage import binary_dilation
from scipy.spatial.transform import Rotation

from isdu_bids.bids.query import find_acquisitions
from isdu_bids.evaluation.tables import to_markdown
from isdu_bids.geometry import b0_direction, voxel_size_mm
from isdu_bids.images import load_volume, save_volume
from isdu_bids.phase.wrapping import wrap
from isdu_bids.physics.dipole import forward_field
from isdu_bids.quality.record import read_record
from isdu_bids.units import ppm_to_hz

Array = npt.NDArray[Any]
Change = Callable[[Array, Array, float], tuple[Array, Array]]

APP = Path(sys.executable).with_name("isdu-bids")


@dataclass
class Scan:
    """The files of a scan that may be damaged."""

    dataset: Path
    magnitude: list[Path]
    phase: list[Path]
    echo_times_s: tuple[float, ...]
    field_strength_t: float
    brain: npt.NDArray[np.bool_] | None = None

    @classmethod
    def copied(
        cls,
        dataset: Path,
        folder: Path,
        label: str,
        brain: npt.NDArray[np.bool_] | None = None,
    ) -> Scan:
        """Copy one participant, whose brain is known where the sound scan was processed."""
        folder.mkdir()
        shutil.copy(dataset / "dataset_description.json", folder)
        shutil.copytree(dataset / f"sub-{label}", folder / f"sub-{label}")
        (scan,) = find_acquisitions(folder).acquisitions
        files = list(scan.magnitude_files), list(scan.phase_files)
        return cls(folder, *files, scan.echo_times_s, scan.field_strength_t, brain)

    def sidecars(self, **changes: Callable[[Any], Any]) -> None:
        """Change fields of every sidecar."""
        for image in (*self.magnitude, *self.phase):
            path = image.with_name(image.name.partition(".")[0] + ".json")
            content = json.loads(path.read_text())
            content |= {name: change(content[name]) for name, change in changes.items()}
            path.write_text(json.dumps(content))

    def voxels(self, change: Change) -> None:
        """Change magnitude and phase of every echo."""
        for paths in zip(self.magnitude, self.phase, self.echo_times_s, strict=True):
            magnitude, phase = (load_volume(path) for path in paths[:2])
            results = change(magnitude.data, phase.data, paths[2])
            for path, data, old in zip(paths[:2], results, (magnitude, phase), strict=True):
                save_volume(data.astype(np.float32), old.affine, path)

    def headers(self, change: Callable[[Array], Array]) -> None:
        """Change every affine."""
        for path in (*self.magnitude, *self.phase):
            volume = load_volume(path)
            save_volume(volume.data, change(volume.affine), path)

    def with_mask(self, mask: npt.NDArray[np.bool_]) -> None:
        """Bring a brain mask, which the app then takes."""
        affine = load_volume(self.magnitude[0]).affine
        save_volume(mask.astype(np.uint8), affine, self.dataset / "mask.nii.gz")
        (self.dataset / ".bidsignore").write_text("mask.nii.gz\n")


def flipped_sign(scan: Scan) -> None:
    scan.voxels(lambda magnitude, phase, _: (magnitude, -phase))


def longer_echo_times(scan: Scan) -> None:
    scan.sidecars(EchoTime=lambda te_s: 1.3 * te_s)


def halved_echo_times(scan: Scan) -> None:
    scan.sidecars(EchoTime=lambda te_s: te_s / 2)


def half_a_mask(scan: Scan) -> None:
    assert scan.brain is not None
    mask = scan.brain.copy()
    mask[: len(mask) // 2] = False
    scan.with_mask(mask)


def mask_with_air(scan: Scan) -> None:
    assert scan.brain is not None
    scan.with_mask(binary_dilation(scan.brain, iterations=4))


def missing_echo(scan: Scan) -> None:
    for path in (scan.magnitude[1], scan.phase[1]):
        path.unlink()


def ghost(scan: Scan) -> None:
    def change(magnitude: Array, phase: Array, _: float) -> tuple[Array, Array]:
        signal = magnitude * np.exp(1j * phase)
        signal = signal + 0.15 * np.roll(signal, signal.shape[1] // 2, axis=1)
        return np.abs(signal), np.angle(signal)

    scan.voxels(change)


def exchanged_parts(scan: Scan) -> None:
    for magnitude, phase in zip(scan.magnitude, scan.phase, strict=True):
        kept = magnitude.read_bytes()
        magnitude.write_bytes(phase.read_bytes())
        phase.write_bytes(kept)


def turned_header(scan: Scan) -> None:
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("x", 40, degrees=True).as_matrix()
    scan.headers(lambda affine: turn @ affine)


def larger_voxels(scan: Scan) -> None:
    scan.headers(lambda affine: np.diag([1.5, 1.5, 1.5, 1.0]) @ affine)


def scaled_phase(scan: Scan) -> None:
    scan.voxels(lambda magnitude, phase, _: (magnitude, 0.5 * phase))


def bleed(scan: Scan) -> None:
    """Add a sphere of 2 ppm and 8 mm: no fault of the scan, but a reader must know."""
    affine = load_volume(scan.magnitude[0]).affine
    size = voxel_size_mm(affine)
    assert scan.brain is not None
    middle = np.argwhere(scan.brain).mean(axis=0) + np.array([15, 10, 15]) / size
    grid = np.moveaxis(np.indices(scan.brain.shape), 0, -1)
    inside = (((grid - middle) * size) ** 2).sum(axis=-1) < 8**2
    chi = torch.from_numpy(np.where(inside, 2.0, 0.0).astype(np.float32))
    field = forward_field(chi, voxel_size_mm=size, b0_direction=b0_direction(affine)).numpy()

    def change(magnitude: Array, phase: Array, te_s: float) -> tuple[Array, Array]:
        turns = ppm_to_hz(field, scan.field_strength_t) * te_s
        return np.where(inside, 0.05 * magnitude, magnitude), wrap(phase + 2 * np.pi * turns)

    scan.voxels(change)


FAULTS = (
    *(flipped_sign, scaled_phase, exchanged_parts, missing_echo, halved_echo_times),
    *(longer_echo_times, larger_voxels, turned_header, half_a_mask, mask_with_air, ghost, bleed),
)


def processed(scan: Scan, label: str, folder: Path) -> tuple[Array | None, set[str], str]:
    """Run the app; map, names of warnings and errors, and what a refusal says."""
    command = [APP, scan.dataset, folder / "out", "participant", "--participant-label", label]
    command += ["-w", folder / "work", "--n-cpus", "1", "--segmentation", "none"]
    if (scan.dataset / "mask.nii.gz").exists():
        command += ["--mask-pattern", "mask.nii.gz"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    records = sorted((folder / "out").rglob("*_summary.json"))
    if not records:
        return None, set(), done.stderr.strip().splitlines()[-1]
    flags = {flag.name for flag in read_record(records[0]).flags if flag.severity != "info"}
    return load_volume(next((folder / "out").rglob("*_Chimap.nii.gz"))).data, flags, ""


def rows(dataset: Path, label: str) -> dict[str, str]:
    """Outcome of every fault, by name."""
    found = {}
    with tempfile.TemporaryDirectory() as root:
        sound = Scan.copied(dataset, Path(root, "sound"), label)
        chi, usual, _ = processed(sound, label, Path(root, "run"))
        assert chi is not None
        found["none"] = ", ".join(sorted(usual)) or "no flag"
        for fault in FAULTS:
            folder = Path(root, fault.__name__)
            scan = Scan.copied(dataset, folder, label, chi != 0)
            fault(scan)
            changed, flags, refused = processed(scan, label, Path(root, f"run_{fault.__name__}"))
            outcome = f"refused: {refused.replace(root, '').partition(' (details')[0]}"
            if changed is not None:
                percent = 100 * np.linalg.norm(changed - chi) / np.linalg.norm(chi)
                outcome = f"{percent:.0f} %: {', '.join(sorted(flags - usual)) or 'NO FLAG'}"
            found[fault.__name__.replace("_", " ")] = outcome
            print(fault.__name__, outcome, flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("datasets", type=Path, nargs="+")
    parser.add_argument("-p", "--participant-label", default="01")
    options = parser.parse_args()
    table = {str(d.name): rows(d, options.participant_label) for d in options.datasets}
    print("", to_markdown(pd.DataFrame(table).rename_axis("fault")), sep="\n")


if __name__ == "__main__":
    main()
