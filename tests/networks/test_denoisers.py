from __future__ import annotations

import pytest
import torch
from properties import with_statistics

from isdu_bids.errors import UsageError
from isdu_bids.networks.denoisers import DENOISERS, build_denoiser
from isdu_bids.networks.unrolled import Architecture, ISDUQSMNet


@pytest.mark.parametrize(
    ("kind", "options", "published"),
    [
        ("wideresnet", {"depth": 10}, 225_538),
        ("wideresnet", {"depth": 12}, 280_962),
        ("wideresnet", {"depth": 14}, 336_386),
        ("wideresnet", {"depth": 16}, 391_810),
        ("wideresnet", {"depth": 18}, 447_234),
        ("simple", {}, 339_464),
        ("unet-mini", {}, 5_648_308),
        ("unet-heavy", {}, 99_458_020),
    ],
)
def test_sizes_are_those_of_the_paper(kind, options, published):
    """Published counts include lambda and the frozen exponent p."""
    with torch.device("meta"):
        denoiser = build_denoiser(kind, 2, **options)
    assert sum(p.numel() for p in denoiser.parameters()) + 2 == published


@pytest.mark.parametrize("kind", DENOISERS)
@pytest.mark.parametrize("channels", [1, 2])
def test_any_matrix_size(kind, channels):
    denoiser = build_denoiser(kind, channels, features=4).eval()
    volume = torch.randn(1, channels, 17, 20, 19)
    with torch.inference_mode():
        assert denoiser(volume).shape == volume.shape


def test_an_option_of_another_kind_is_refused():
    with pytest.raises(UsageError, match="'simple' has no option 'depth'"):
        build_denoiser("simple", 2, depth=10)
    with pytest.raises(UsageError, match="known are wideresnet"):
        build_denoiser("resnet", 2)


@pytest.mark.parametrize(
    ("kind", "options"),
    [("wideresnet", {"depth": 4}), ("wideresnet", {"depth": 6}), ("simple", {})],
)
def test_stages_reach_as_far_as_the_receptive_field(kind, options):
    torch.manual_seed(0)
    denoiser = with_statistics(build_denoiser(kind, 2, features=8, **options))
    volume = torch.randn(1, 2, 25, 25, 25, requires_grad=True)
    denoiser(volume)[0, :, 12, 12, 12].sum().backward()
    reach = (volume.grad[0].abs().amax((0, 2, 3)) > 0).nonzero() - 12
    assert reach.abs().max() == sum(stage.reach for stage in denoiser.stages())


def test_tapered_depth():
    network = ISDUQSMNet(Architecture(iterations=3, depth=(8, 6, 4), features=4))
    assert [len(denoiser.blocks) for denoiser in network.denoisers] == [3, 2, 1]
    again = Architecture(**network.architecture.as_dict())
    assert again == network.architecture


@pytest.mark.parametrize("changes", [{"depth": (8, 6)}, {"depth": (8, 6, 4), "shared": True}])
def test_tapered_depth_needs_one_number_per_iteration(changes):
    with pytest.raises(UsageError, match="depth lists"):
        Architecture(iterations=3, **changes)
