from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import LinearOperator, cg
from test_unrolled import small_network

from isdu_bids.errors import DataError
from isdu_bids.networks.weights import (
    DEFAULT_WEIGHTS,
    available_weights,
    load_weights,
    save_weights,
)
from isdu_bids.physics.dipole import convolve, dipole_kernel


def test_round_trip(tmp_path):
    network = small_network(shared=True, channels=1)
    save_weights(tmp_path / "net.safetensors", network, "a test")
    weights = load_weights(tmp_path / "net.safetensors")
    assert weights.network.architecture == network.architecture
    assert weights.description == "a test"
    assert weights.sha256 == hashlib.sha256((tmp_path / "net.safetensors").read_bytes()).hexdigest()
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, weights.network.state_dict()[name])


def test_the_default_weights_are_packaged_and_small():
    path = available_weights()[DEFAULT_WEIGHTS]
    assert path.stat().st_size < 10e6
    assert "preliminary" in load_weights().description


@pytest.mark.parametrize("content", [b"", b"not weights", b"\x80\x04."])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_damaged_files_are_named(tmp_path, content, suffix):
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(content)
    with pytest.raises(DataError, match="broken"):
        load_weights(path)


def test_missing_weights_list_what_there_is():
    with pytest.raises(DataError, match=DEFAULT_WEIGHTS):
        load_weights("nonexistent")


def test_unshared_published_format(tmp_path):
    """A dict of K state dicts in the published key names, as written from their training code."""
    torch.manual_seed(0)
    original = small_network(depth=18, features=32, iterations=2)
    names = {
        "head": "gen.0",
        "blocks": "gen.2",
        "tail1": "gen.3",
        "tail2": "gen.5",
        "tail3": "gen.7",
    }
    content = {"K_unrolling": 2, "epoch_no": 3}
    for k, denoiser in enumerate(original.denoisers):
        state = {
            ".".join([names[key.split(".")[0]], *key.split(".")[1:]]): value
            for key, value in denoiser.state_dict().items()
        }
        state |= {"lambda_val": torch.tensor([0.1 + k / 10]), "p": torch.tensor([2.0])}
        content[f"model_{k}"] = state
    torch.save(content, tmp_path / "best_model_with_K_2.pt")
    network = load_weights(tmp_path / "best_model_with_K_2.pt").network
    assert network.lambdas.tolist() == pytest.approx([0.1, 0.2])
    assert torch.equal(network.denoisers[1].tail3.weight, original.denoisers[1].tail3.weight)


def test_published_checkpoints_need_their_number_of_iterations(data_folder):
    """K = 1 in place of 4 would give a wrong map that looks right."""
    with pytest.raises(DataError, match="--weights-iterations"):
        load_weights(data_folder / "checkpoints" / "modl_qsm_sw_k4.pth")


def test_spinet_checkpoints_are_refused(data_folder, tmp_path):
    state = torch.load(
        data_folder / "checkpoints" / "isdu_qsmnet_k1.pth", weights_only=True, map_location="cpu"
    )
    torch.save({**state, "p": torch.tensor([1.58])}, tmp_path / "spinet.pth")
    with pytest.raises(DataError, match="SpiNet"):
        load_weights(tmp_path / "spinet.pth", iterations=1)


@pytest.mark.parametrize(
    ("name", "iterations", "weight"),
    [("isdu_qsmnet_k1", 1, 0.113444), ("modl_qsm_sw_k4", 4, 0.156546)],
)
def test_published_checkpoints_load(data_folder, name, iterations, weight):
    network = load_weights(
        data_folder / "checkpoints" / f"{name}.pth", iterations=iterations
    ).network
    assert network.architecture.iterations == iterations
    assert float(network.lambdas[0].detach()) == pytest.approx(weight, abs=1e-5)


def test_published_checkpoint_closed_form_equals_conjugate_gradients(data_folder):
    """Same normal equations, solved as the public code does (complex double CG): <= 1e-6 ppm."""
    network = load_weights(data_folder / "checkpoints" / "isdu_qsmnet_k1.pth", iterations=1).network
    with np.load(data_folder / "invivo_patches" / "patches_subB.npz") as patches:
        field, mask = (
            torch.from_numpy(patches[key][0]).float()[None, None]
            for key in ("local_field_ppm", "mask")
        )
    shape = field.shape[-3:]
    kernel = dipole_kernel(shape, (1, 1, 1), (0, 0, 1), dc_value=1 / 3)
    with torch.inference_mode():
        (step,) = network.iterate(field * mask, mask, kernel)
    weight = float(network.lambdas[0].detach())
    double = kernel.double()

    def normal(x: np.ndarray) -> np.ndarray:
        volume = torch.from_numpy(x.reshape(shape))
        return (convolve(convolve(volume, double), double) + weight * volume).numpy().ravel()

    right = convolve((field * mask).double()[0, 0], double) + weight * step.denoised[0, 0].double()
    operator = LinearOperator((right.numel(),) * 2, matvec=normal, dtype=np.float64)
    solution, failed = cg(operator, right.numpy().ravel(), rtol=0, atol=1e-10, maxiter=100)
    assert not failed
    difference = solution.reshape(shape) * mask[0, 0].numpy() - step.consistent[0, 0].numpy()
    assert np.abs(difference).max() <= 1e-6
