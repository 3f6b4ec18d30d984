from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from properties import ball

from isdu_bids import images
from isdu_bids.cli.toolbox import main
from isdu_bids.networks.unrolled import Architecture, ISDUQSMNet
from isdu_bids.networks.weights import save_weights
from isdu_bids.physics.dipole import forward_field
from isdu_bids.units import ppm_to_hz


@pytest.fixture
def scan(tmp_path):
    """Local field in Hz at 3 T of a sphere, oblique, with its mask."""
    tilt = np.radians(20)
    affine = np.eye(4)
    affine[1:3, 1:3] = [[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]]
    chi = 0.1 * ball((24, 24, 24), 4).float()
    field = forward_field(chi, (1, 1, 1), (0, np.sin(tilt), np.cos(tilt))).numpy()
    images.save_volume(ppm_to_hz(field, 3.0), affine, tmp_path / "field.nii.gz")
    images.save_volume(ball((24, 24, 24), 9).numpy(), affine, tmp_path / "mask.nii.gz")
    return tmp_path, chi.numpy()


def arguments(folder, *more):
    return [
        "invert",
        str(folder / "field.nii.gz"),
        "-m",
        str(folder / "mask.nii.gz"),
        "-o",
        str(folder / "out" / "chi.nii.gz"),
        *more,
    ]


@pytest.mark.parametrize("method", ["isdu", "tkd"])
def test_map_and_sidecar(scan, method):
    folder, truth = scan
    hertz = ("--unit", "hz", "--field-strength", "3")
    assert main(arguments(folder, "--method", method, *hertz)) == 0
    chi = images.load_volume(folder / "out" / "chi.nii.gz")
    inside = images.load_volume(folder / "mask.nii.gz").data > 0
    assert np.corrcoef(chi.data[inside], truth[inside])[0, 1] > 0.8
    sidecar = json.loads((folder / "out" / "chi.json").read_text())
    assert sidecar["Units"] == "ppm"
    assert sidecar["InversionMethod"] == method
    assert sidecar["B0Direction"] == pytest.approx(
        [0, np.sin(np.radians(20)), np.cos(np.radians(20))]
    )
    assert ("WeightsSHA256" in sidecar) == (method == "isdu")


def test_hertz_need_a_field_strength(scan, capsys):
    folder, _ = scan
    assert main(arguments(folder, "--unit", "hz")) == 64
    assert "field strength" in capsys.readouterr().err
    assert not (folder / "out").exists()


def test_another_grid_is_named(scan, capsys):
    folder, _ = scan
    images.save_volume(np.ones((24, 24, 23)), np.eye(4), folder / "mask.nii.gz")
    assert main(arguments(folder)) == 65
    assert "mask.nii.gz" in capsys.readouterr().err


@pytest.fixture
def weights_file(tmp_path, monkeypatch):
    monkeypatch.setenv("ISDU_BIDS_WEIGHTS", str(tmp_path / "known"))
    torch.manual_seed(0)
    network = ISDUQSMNet(Architecture(iterations=2, depth=4, features=4)).eval()
    save_weights(tmp_path / "mine.safetensors", network, "a test")
    return tmp_path / "mine.safetensors"


def test_add_list_verify(weights_file, capsys):
    assert main(["weights", "add", str(weights_file), "--name", "other"]) == 0
    assert main(["weights", "list"]) == 0
    printed = capsys.readouterr().out
    assert "other  isdu: " in printed
    assert "  iterations 2, denoiser wideresnet, depth 4, features " in printed
    assert main(["weights", "verify", "other"]) == 0
    assert "(as recorded), runs" in capsys.readouterr().out
    assert main(["weights", "add", str(weights_file), "--name", "other"]) == 65
    assert "exist already" in capsys.readouterr().err


def test_replaced_weights_are_found_out(weights_file, capsys):
    main(["weights", "add", str(weights_file)])
    known = weights_file.parent / "known" / "mine.safetensors"
    known.write_bytes(known.read_bytes().replace(b"a test", b"a best"))
    assert main(["weights", "verify", "mine"]) == 65
    assert "damaged or was replaced" in capsys.readouterr().err


def test_packaged_weights_are_as_recorded(capsys):
    assert main(["weights", "verify"]) == 0
    assert "not recorded" not in capsys.readouterr().out


def test_added_weights_are_used_by_name(weights_file, scan):
    folder, _ = scan
    main(["weights", "add", str(weights_file)])
    assert main(arguments(folder, "--weights", "mine", "--unit", "ppm")) == 0
    sidecar = json.loads((folder / "out" / "chi.json").read_text())
    assert sidecar["Weights"] == "mine"
