"""Makes tiny but complete BIDS datasets: real NIfTI headers, a few voxels, every variant."""

import json
from collections.abc import Mapping
from pathlib import Path

import nibabel as nib
import numpy as np

SHAPE = (5, 6, 4)
AFFINE = np.array([[-2.0, 0, 0, 5], [0, 2.0, 0, -6], [0, 0, 3.0, -4], [0, 0, 0, 1]])

DEFAULTS = {
    "suffix": "MEGRE",
    "parts": ("mag", "phase"),
    "echo_times_s": (0.004, 0.008, 0.012),
    "echo_label": "{:d}",  # None: no echo entity
    "extension": ".nii.gz",
    "four_d": False,  # all echoes in one file, EchoTime a list
    "shape": SHAPE,
    "affine": AFFINE,
    "dtype": "float32",
    "metadata": {"MagneticFieldStrength": 3.0, "Manufacturer": "Skeleton", "FlipAngle": 15},
    "units": "rad",
}

DESCRIPTION = {
    "Name": "skeleton",
    "BIDSVersion": "1.10.1",
    "DatasetType": "raw",
    "License": "CC0",
    "Authors": ["A. Author", "B. Author"],
}


def make_dataset(folder: Path, scans: Mapping[str, Mapping] | None = None) -> Path:
    """Write a raw dataset; ``{"sub-01_run-1": {"parts": ("real", "imag")}, ...}``, see DEFAULTS."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "dataset_description.json", DESCRIPTION)
    (folder / "README.md").write_text("A skeleton.\n")
    for name, changes in (scans or {"sub-01": {}}).items():
        write_scan(folder, name, **{**DEFAULTS, **changes})
    return folder


def write_scan(folder, name, *, parts, echo_times_s, four_d, units, metadata, **how):
    anat = folder / "/".join(p for p in name.split("_") if p[:4] in ("sub-", "ses-")) / "anat"
    anat.mkdir(parents=True, exist_ok=True)
    files = [list(echo_times_s)] if four_d else echo_times_s
    for part in parts:
        for number, echo_time in enumerate(files, start=1):
            echo = f"_echo-{how['echo_label'].format(number)}" if how["echo_label"] else ""
            stem = (
                f"{name}{echo}_part-{part}_{how['suffix']}"
                if part
                else f"{name}{echo}_{how['suffix']}"
            )
            shape = (*how["shape"], len(echo_time)) if four_d else how["shape"]
            write_nifti(
                anat / (stem + how["extension"]), volume(part, shape), how["affine"], how["dtype"]
            )
            sidecar = {**metadata, "EchoTime": echo_time}
            if part == "phase" and units:
                sidecar["Units"] = units
            write_json(anat / f"{stem}.json", sidecar)


def volume(part, shape):
    """Magnitude 1..2 and phase -pi..pi, or the parts of such a signal."""
    ramp = np.linspace(-1, 1, int(np.prod(shape))).reshape(shape)
    magnitude, phase = 1.5 + 0.5 * ramp, np.pi * ramp
    signals = {
        "phase": phase,
        "real": magnitude * np.cos(phase),
        "imag": magnitude * np.sin(phase),
    }
    return signals.get(part, magnitude)


def write_nifti(path: Path, data, affine=AFFINE, dtype="float32"):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(np.asarray(data, dtype=dtype), affine)
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    nib.save(image, path)
    return path


def write_json(path: Path, content: Mapping):
    path.write_text(json.dumps(content, indent=1))
    return path


def edit_json(path: Path, **changes):
    """Change fields of a sidecar; None removes one."""
    content = {**json.loads(path.read_text()), **changes}
    return write_json(path, {k: v for k, v in content.items() if v is not None})
