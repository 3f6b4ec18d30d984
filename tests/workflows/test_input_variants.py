"""The same scan in other forms gives the same map; a single echo gives one, and says so."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from isdu_bids import images
from isdu_bids.cli import app
from isdu_bids.evaluation.metrics import nrmse_percent
from isdu_bids.files import write_json

ECHO_TIMES_S = [0.005, 0.012, 0.019]


@pytest.fixture(scope="module")
def variants(head_dataset, tmp_path_factory) -> Path:
    """Processed output: sub-11 one echo, sub-12 real and imaginary, sub-13 4D Siemens integers."""
    folder = tmp_path_factory.mktemp("variants")
    dataset = folder / "bids"
    dataset.mkdir()
    shutil.copy(head_dataset / "dataset_description.json", dataset)
    source = head_dataset / "sub-01/anat"
    stacks = {}
    for part in ("mag", "phase"):
        paths = [source / f"sub-01_echo-{echo}_part-{part}_MEGRE.nii.gz" for echo in (1, 2, 3)]
        stacks[part] = images.load_stack(paths)
    magnitude, phase = stacks["mag"].data, stacks["phase"].data

    def write(name: str, data: np.ndarray, **metadata: object) -> None:
        subject, *session = name.split("_")[:2]
        place = [part for part in session if part.startswith("ses-")]
        path = dataset.joinpath(subject, *place, "anat", f"{name}.nii.gz")
        images.save_volume(data, stacks["mag"].affine, path)
        write_json(path.with_name(f"{name}.json"), {"MagneticFieldStrength": 3.0, **metadata})

    write("sub-11_part-mag_T2starw", magnitude[1], EchoTime=ECHO_TIMES_S[1])
    write("sub-11_part-phase_T2starw", phase[1], EchoTime=ECHO_TIMES_S[1], Units="rad")
    signal = magnitude * np.exp(1j * phase)
    for echo, time_s in enumerate(ECHO_TIMES_S):
        stem = f"sub-12_ses-a_run-1_echo-{echo + 1}_part"
        write(f"{stem}-real_MEGRE", signal[echo].real, EchoTime=time_s)
        write(f"{stem}-imag_MEGRE", signal[echo].imag, EchoTime=time_s)
    stored = np.round(phase / np.pi * 4096).clip(-4096, 4095).astype(np.int16)
    write("sub-13_echo-1_part-mag_MEGRE", np.moveaxis(magnitude, 0, -1), EchoTime=ECHO_TIMES_S)
    write(
        "sub-13_echo-1_part-phase_MEGRE",
        np.moveaxis(stored, 0, -1),
        EchoTime=ECHO_TIMES_S,
        Units="arbitrary",
        Manufacturer="Siemens",
    )
    code = app.main(
        [str(dataset), str(folder / "out"), "participant", "-w", str(folder / "work"),
         "--skip-bids-validation", "--nprocs", "2"]
    )  # fmt: skip
    assert code == 0
    return folder / "out"


@pytest.mark.parametrize("name", ["sub-12/ses-a/anat/sub-12_ses-a_run-1", "sub-13/anat/sub-13"])
def test_the_form_of_the_input_does_not_matter(variants, processed, name):
    """Up to rounding of the phase to 1/4096 of half a turn."""
    chi = images.load_volume(variants / f"{name}_Chimap.nii.gz").data
    reference = images.load_volume(processed / "out/sub-01/anat/sub-01_Chimap.nii.gz").data
    mask = (chi != 0) & (reference != 0)
    assert mask.sum() > 0.98 * (reference != 0).sum()
    assert nrmse_percent(chi, reference, mask) < 3


def test_a_single_echo_is_processed_and_told(variants):
    sidecar = json.loads((variants / "sub-11/anat/sub-11_Chimap.json").read_text())
    assert "single_echo" in sidecar["Flags"]
    assert sidecar["EchoTime"] == [0.012]
    assert not list(variants.glob("sub-11/anat/*R2starmap*"))
    assert "a single echo" in (variants / "sub-11.html").read_text()
