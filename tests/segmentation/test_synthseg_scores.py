"""The network that scores segmentations, against Keras, and the box that it sees."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from isdu_bids.errors import DataError
from isdu_bids.physics import planes
from isdu_bids.segmentation.keras_weights import load_scores
from isdu_bids.segmentation.labels import SCORED, SYNTHSEG_LABELS
from isdu_bids.segmentation.scores import ScoreNet, predicted_scores

DATA = Path(__file__).parent / "data"
QC = DATA / "synthseg_qc_tiny.h5"


@pytest.mark.parametrize("slab_planes", [32, 4])
@torch.inference_mode()
def test_equal_to_keras(slab_planes, monkeypatch):
    monkeypatch.setattr(planes, "SLAB_PLANES", slab_planes)
    expected = np.load(DATA / "synthseg_qc_tiny.npz")
    one_hot = torch.from_numpy(np.eye(9, dtype=bool)[expected["groups"]]).movedim(-1, 0)[None]
    scores = load_scores(QC)(one_hot)[0].numpy()
    assert np.count_nonzero(expected["scores"]) > 3
    np.testing.assert_allclose(scores, expected["scores"], rtol=1e-4, atol=1e-5)


def test_number_of_parameters():
    with torch.device("meta"):
        network = ScoreNet()
    floats = [tensor for tensor in network.state_dict().values() if tensor.is_floating_point()]
    # at 4 bytes, all but 75 kB of the official file
    assert sum(tensor.numel() for tensor in floats) == 12_450_663


class Shares(torch.nn.Module):
    """In place of the network: share of the box that each group fills. Keeps what it was shown."""

    def forward(self, one_hot):
        self.shown = one_hot
        return one_hot.float().mean((2, 3, 4))


def channel(label):
    return SYNTHSEG_LABELS.index(label)


def test_every_structure_is_scored_in_one_group():
    channels = torch.arange(33).reshape(33, 1, 1)
    shares = predicted_scores(Shares(), channels, edge=64)
    assert {name: round(share * 64**3) for name, share in shares.items()} == {
        "white_matter": 8, "grey_matter": 2, "fluid": 6, "cerebellum": 4, "brain_stem": 1,
        "thalamus": 2, "putamen_pallidum": 4, "hippocampus_amygdala": 4,
    }  # fmt: skip
    assert {label for labels in SCORED.values() for label in labels} == {*SYNTHSEG_LABELS} - {0, 24}


def test_the_box_lies_around_the_labels():
    channels = torch.zeros(50, 40, 30, dtype=torch.long)
    channels[3:8, 20:38, 10:21] = channel(10)
    network = Shares()
    shares = predicted_scores(network, channels, edge=16)
    # 5, 18 (cut) and 11 voxels; where it is not even, one more before than behind
    thalamus = network.shown[0, 6]
    assert thalamus.shape == (16, 16, 16)
    assert thalamus[6:11, :, 3:14].all()
    assert thalamus.sum() == 5 * 16 * 11
    assert shares["thalamus"] == pytest.approx(5 * 16 * 11 / 16**3)
    assert network.shown.sum(1).eq(1).all()


def test_the_box_is_centred_as_synthseg_does_it():
    """By channels other than 0 and 24, where labels 0 and 24 may have been meant."""
    channels = torch.zeros(40, 40, 40, dtype=torch.long)
    channels[10:14, 10:14, 10:14] = channel(10)
    channels[14:18, 10:14, 10:14] = channel(24)  # fluid counts
    channels[18:30, 10:14, 10:14] = 24  # right cerebellar cortex does not
    network = Shares()
    predicted_scores(network, channels, edge=16)
    assert network.shown[0, 6, 4:8, 6:10, 6:10].all()


def test_scores_are_probabilities_and_an_empty_map_has_some():
    empty = torch.zeros(20, 40, 20, dtype=torch.long)
    scores = predicted_scores(load_scores(QC), empty, edge=32)
    assert list(scores) == list(SCORED)
    assert all(0 <= score <= 1 for score in scores.values())


@pytest.mark.parametrize("layer", ["qc_expand_down_merge_2", "qc_final_conv_1", "qc_bn_down_3"])
def test_missing_layers_are_refused(layer, tmp_path):
    path = tmp_path / "changed.h5"
    path.write_bytes(QC.read_bytes())
    with h5py.File(path, "r+") as file:
        del file[layer]
    with pytest.raises(DataError, match=layer):
        load_scores(path)


def test_other_networks_are_refused():
    with pytest.raises(DataError, match="qc_conv_downarm_0_0"):
        load_scores(DATA / "synthseg_unet_tiny.h5")
