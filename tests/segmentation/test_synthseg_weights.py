"""SynthSeg's networks and the reading of their Keras files, against Keras itself."""

import hashlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from isdu_bids.errors import DataError
from isdu_bids.packaged import find_weights
from isdu_bids.physics import planes
from isdu_bids.segmentation import keras_weights, synthseg
from isdu_bids.segmentation.keras_weights import load_synthseg
from isdu_bids.segmentation.labels import SYNTHSEG_LABELS
from isdu_bids.segmentation.locating import DEFAULT_FILE
from isdu_bids.segmentation.postprocess import averaged_with_mirrored
from isdu_bids.segmentation.synthseg import RobustSynthSeg, UNet

DATA = Path(__file__).parent / "data"
UNET = DATA / "synthseg_unet_tiny.h5"


@pytest.fixture
def changed(tmp_path):
    """A copy of the plain network's file, with the changes that a test makes."""

    def change(edit):
        path = tmp_path / "changed.h5"
        path.write_bytes(UNET.read_bytes())
        with h5py.File(path, "r+") as file:
            edit(file)
        return path

    return change


@pytest.mark.parametrize("name", ["unet", "robust"])
@pytest.mark.parametrize("slab_planes", [32, 8])
@torch.inference_mode()
def test_equal_to_keras(name, slab_planes, monkeypatch):
    monkeypatch.setattr(planes, "SLAB_PLANES", slab_planes)
    weights = load_synthseg(DATA / f"synthseg_{name}_tiny.h5")
    expected = np.load(DATA / f"synthseg_{name}_tiny.npz")
    image = torch.from_numpy(expected["image"] / np.float32(255))[None, None]
    posteriors = weights.network(image)[0].softmax(0)
    mirrored = weights.network(image.flip(2))[0].softmax(0)
    some = (slice(None), *(slice(None, None, int(expected["stride"])),) * 3)

    def as_keras(volume):
        return volume[some].movedim(0, -1).numpy()

    np.testing.assert_allclose(as_keras(posteriors), expected["posteriors"], atol=1e-4)
    averaged = averaged_with_mirrored(posteriors, mirrored, weights.network.labels)
    np.testing.assert_allclose(as_keras(averaged), expected["averaged"], atol=1e-4)


def test_the_robust_file_is_recognised():
    assert type(load_synthseg(UNET).network) is synthseg.SynthSeg
    network = load_synthseg(DATA / "synthseg_robust_tiny.h5").network
    assert isinstance(network, RobustSynthSeg)
    assert network.labels == SYNTHSEG_LABELS
    assert (network.denoiser.unskipped, network.denoiser.halo) == (2, 4)
    assert network.unet.down[0][0].in_channels == 6


def test_number_of_parameters():
    with torch.device("meta"):
        unet = UNet(1, 33)
    floats = [tensor for tensor in unet.state_dict().values() if tensor.is_floating_point()]
    assert sum(tensor.numel() for tensor in floats) == 13_242_849
    assert sum(parameter.numel() for parameter in unet.parameters()) == 13_240_641


def test_unknown_files_are_loaded_and_say_so(monkeypatch):
    sha256 = hashlib.sha256(UNET.read_bytes()).hexdigest()
    weights = load_synthseg(UNET)
    assert (weights.name, weights.sha256, weights.official) == (UNET.name, sha256, False)
    monkeypatch.setitem(keras_weights.OFFICIAL, sha256, "synthseg_9.h5")
    assert (load_synthseg(UNET).name, load_synthseg(UNET).official) == ("synthseg_9.h5", True)


def test_outer_group_is_accepted_and_other_layers_are_reported(changed, caplog):
    def wrap(file):
        outer = file.create_group("model_weights")
        for name in [name for name in file if name != "model_weights"]:
            file.move(name, f"model_weights/{name}")
        outer["another/another/kernel:0"] = np.zeros(3)

    weights = load_synthseg(changed(wrap))
    assert "not used: another" in caplog.text
    for name, tensor in load_synthseg(UNET).network.state_dict().items():
        torch.testing.assert_close(weights.network.state_dict()[name], tensor)


def drop_layer(file):
    del file["unet_bn_up_1"]


def reshape(file):
    name = "unet_conv_downarm_2_1/unet_conv_downarm_2_1/bias:0"
    del file[name]
    file[name] = np.zeros(3)


def other_network(file):
    for name in [name for name in file if name in file[name]]:
        file.move(f"{name}/{name}", f"qc/{name.replace('unet_', 'qc_')}")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (drop_layer, "unet_bn_up_1"),
        (reshape, r"unet_conv_downarm_2_1.*\(3,\)"),
        (other_network, "no SynthSeg"),
        (lambda file: file.clear(), "no SynthSeg"),
    ],
)
def test_wrong_layers_are_refused(changed, edit, message):
    path = changed(edit)
    with pytest.raises(DataError, match=message) as error:
        load_synthseg(path)
    assert str(path) in str(error.value)


def test_damaged_and_missing_files_are_refused(tmp_path):
    page = tmp_path / "synthseg_2.0.h5"
    page.write_text("<html>Not found</html>")
    with pytest.raises(DataError, match="HDF5"):
        load_synthseg(page)
    with pytest.raises(DataError, match="HDF5"):
        load_synthseg(tmp_path / "none.h5")


def test_where_weights_are_found(tmp_path, monkeypatch):
    monkeypatch.delenv("FREESURFER_HOME", raising=False)
    assert find_weights(None, DEFAULT_FILE) is None
    monkeypatch.setenv("FREESURFER_HOME", str(tmp_path))
    assert find_weights(None, DEFAULT_FILE) is None
    models = tmp_path / "models"
    models.mkdir()
    default, robust = models / "synthseg_2.0.h5", models / "synthseg_robust_2.0.h5"
    default.touch()
    robust.touch()
    assert find_weights(None, DEFAULT_FILE) == default
    assert find_weights(None, robust.name) == robust
    assert find_weights(robust, DEFAULT_FILE) == robust
    assert find_weights(models, DEFAULT_FILE) == default
    for nothing in (tmp_path, tmp_path / "none.h5"):
        with pytest.raises(DataError, match="no such file"):
            find_weights(nothing, DEFAULT_FILE)
