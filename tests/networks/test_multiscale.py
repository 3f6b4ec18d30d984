"""The denoiser that works at three resolutions."""

from __future__ import annotations

import pytest
import torch
from properties import with_statistics

from isdu_bids.errors import UsageError
from isdu_bids.networks.denoisers import build_denoiser
from isdu_bids.networks.multiscale import MultiScale
from isdu_bids.networks.unrolled import Architecture, ISDUQSMNet


def denoiser(**options) -> MultiScale:
    torch.manual_seed(0)
    return with_statistics(MultiScale(**{"features": 4, **options}))


@pytest.mark.parametrize("shape", [(4, 4, 4), (9, 10, 11), (13, 8, 6), (5, 7, 1)])
def test_any_shape_is_kept(shape):
    with torch.inference_mode():
        assert denoiser()(torch.randn(2, 2, *shape)).shape == (2, 2, *shape)


def test_what_lies_beyond_the_end_counts_as_zero():
    """Sizes that 4 does not divide are padded; the same zeros as input change nothing."""
    network, volume = denoiser(), torch.randn(1, 2, 9, 10, 11)
    with torch.inference_mode():
        padded = torch.nn.functional.pad(volume, (0, 1, 0, 2, 0, 3))
        assert torch.equal(network(volume), network(padded)[..., :9, :10, :11])


#: Few enough to see 21 voxels to each side.
FEW = (1, 1, 1, 0, 0)


def test_a_constant_stays_constant_far_from_the_edge():
    """No grid pattern of strided convolutions or interpolation."""
    with torch.inference_mode():
        out = denoiser(blocks=FEW)(torch.full((1, 2, 52, 52, 52), 0.7))
    inner = out[..., 22:30, 22:30, 22:30]
    spread = (inner.amax((-3, -2, -1)) - inner.amin((-3, -2, -1))).max()
    assert float(spread) < 1e-5
    assert float(inner.abs().max()) > 1e-3


def test_moving_by_four_voxels_moves_the_result():
    network, volume = denoiser(blocks=FEW), torch.zeros(1, 2, 56, 56, 56)
    volume[..., 22:26, 23:27, 21:25] = torch.randn(4, 4, 4)
    with torch.inference_mode():
        here, there = (network(v)[0] for v in (volume, volume.roll((4, 4, 4), (-3, -2, -1))))
    inner, moved = (slice(21, 31),) * 3, (slice(25, 35),) * 3
    assert torch.allclose(here[(..., *inner)], there[(..., *moved)], atol=1e-6)
    assert not torch.allclose(here[(..., *inner)], there[(..., *inner)], atol=1e-3)


@pytest.mark.parametrize(("features", "n_parameters"), [(16, 647_232), (8, 162_272)])
def test_size(features, n_parameters):
    """Blocks of 54 w^2 + 4 w; 2^3 and 1^3 convolutions between widths w, 2w and 4w."""
    blocks = (1, 2, 2, 1, 0)
    widths = (features, 2 * features, 4 * features, 2 * features, features)
    expected = sum(n * (54 * w * w + 4 * w) for n, w in zip(blocks, widths, strict=True))
    full, half, quarter = widths[:3]
    expected += 27 * 2 * full + 8 * full * half + 8 * half * quarter  # head and down
    expected += quarter * half + half * full + full * full + full * 2  # up and tail
    with torch.device("meta"):
        network = MultiScale(features=features)
    assert sum(p.numel() for p in network.parameters()) == expected
    assert expected == n_parameters


def test_blocks_are_read_from_the_architecture():
    architecture = Architecture(
        iterations=1, denoiser="multiscale", features=4, blocks=[0, 1, 2, 0, 1]
    )
    assert architecture.blocks == (0, 1, 2, 0, 1)
    net = ISDUQSMNet(architecture).denoisers[0]
    levels = (net.full_down, net.half_down, net.quarter, net.half_up, net.full_up)
    assert [len(level) for level in levels] == [0, 1, 2, 0, 1]
    with pytest.raises(UsageError, match="no option 'blocks'"):
        build_denoiser("wideresnet", 2, blocks=(1, 1, 1, 1, 1))
