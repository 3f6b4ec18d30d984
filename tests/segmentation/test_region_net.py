"""The small segmentation network."""

import pytest
import torch
from properties import with_statistics

from isdu_bids.errors import DataError
from isdu_bids.segmentation.labels import SYNTHSEG_LABELS
from isdu_bids.segmentation.region_net import (
    RegionNet,
    fold,
    load_region_net,
    save_region_net,
    unfold,
)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return with_statistics(RegionNet(SYNTHSEG_LABELS, (4, 8, 8)))


def test_unfold_is_the_inverse_of_fold():
    image = torch.randn(2, 3, 4, 6, 8)
    blocks = fold(image)
    assert blocks.shape == (2, 24, 2, 3, 4)
    assert torch.equal(unfold(blocks), image)


def test_channels_of_a_block_are_its_eight_voxels():
    image = torch.arange(4.0 * 4 * 4).reshape(1, 1, 4, 4, 4)
    block = image[0, 0, 2:, :2, 2:].flatten()
    assert fold(image)[0, :, 1, 0, 1].tolist() == block.tolist()


@torch.no_grad()
def test_logits_per_label_on_the_grid_of_the_image(network):
    assert network.multiple == 8
    assert network(torch.rand(2, 1, 16, 8, 24)).shape == (2, 33, 16, 8, 24)


@torch.no_grad()
def test_a_shift_by_the_coarsest_voxel_shifts_the_logits(network):
    image = torch.zeros(1, 1, 64, 8, 8)
    image[..., 24:32, 2:6, 2:6] = torch.rand(8, 4, 4)
    shifted = network(image.roll(8, dims=2)).roll(-8, dims=2)
    torch.testing.assert_close(shifted[:, :, 24:32], network(image)[:, :, 24:32])


@torch.no_grad()
def test_half_precision_on_disk_keeps_the_labels(network, tmp_path):
    save_region_net(tmp_path / "net.safetensors", network, "a test")
    loaded = load_region_net(tmp_path / "net.safetensors")
    assert not loaded.training
    assert (loaded.labels, loaded.features) == (network.labels, network.features)
    n_values = sum(tensor.numel() for tensor in network.state_dict().values())
    assert (tmp_path / "net.safetensors").stat().st_size < 2 * n_values + 8000
    image = torch.rand(1, 1, 16, 16, 16)
    before, after = network(image), loaded(image)
    assert after.dtype == torch.float32
    assert float((before - after).abs().max()) < 1e-2 * float(before.std())
    assert float((before.argmax(1) == after.argmax(1)).float().mean()) > 0.98


@pytest.mark.parametrize("content", [None, b"", b"not weights"])
def test_unusable_files_are_named(content, tmp_path):
    path = tmp_path / "net.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"net\.safetensors"):
        load_region_net(path)
