"""Boxes, cropping and folding change the order of additions, so float32 differs by rounding."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from properties import ball, relative_difference, with_statistics

from isdu_bids.networks.boxes import Active, Boxes, run_stages
from isdu_bids.networks.denoisers import SimpleCNN, WideResNet
from isdu_bids.physics.device import cpu_has_bfloat16

ROUNDING = 3e-6

torch.manual_seed(0)
DENOISERS = [
    with_statistics(WideResNet(channels=2, depth=6, features=5)),
    with_statistics(WideResNet(channels=1, depth=8, features=4)),
    with_statistics(SimpleCNN(channels=2, features=4)),
]
denoisers = pytest.mark.parametrize("denoiser", DENOISERS)


def scene(denoiser, shape=(44, 30, 33), radius=4.0):
    """Random input inside an off-centre ball, a constant background outside."""
    channels = len(denoiser.stages()[-1].weight)
    generator = torch.Generator().manual_seed(1)
    mask = ball(shape, radius).roll((2, -1, 1), (0, 1, 2))
    background = torch.tensor([0.3, -0.2])[:channels]
    volume = torch.randn((channels, *shape), generator=generator)
    volume = torch.where(mask, volume, background.reshape(-1, 1, 1, 1))
    return volume, background, mask


@denoisers
@pytest.mark.parametrize("planes", [3, 8, 100])
@torch.inference_mode()
def test_whole_volume_equals_the_plain_forward_pass(denoiser, planes):
    volume, background, mask = scene(denoiser)
    boxes = Boxes(planes=planes, whole=True)
    result = run_stages(denoiser.stages(), volume, background, Active(mask, boxes))
    assert relative_difference(result, denoiser(volume[None])[0]) <= ROUNDING


@denoisers
@torch.inference_mode()
def test_active_region_equals_a_volume_with_wide_margins(denoiser):
    """Far from the volume's faces the plain forward pass has no edge effects."""
    volume, background, mask = scene(denoiser, shape=(48, 46, 46))
    plain = denoiser(volume[None])[0]
    result = run_stages(denoiser.stages(), volume, background, Active(mask, Boxes()))
    inner = (slice(None), *(slice(8, -8),) * 3)
    assert relative_difference(result[inner], plain[inner]) <= ROUNDING


@denoisers
@torch.inference_mode()
def test_wider_margins_do_not_matter(denoiser):
    """As soon as the volume holds what the denoiser can see of the mask."""
    stages = denoiser.stages()
    reach = sum(stage.reach for stage in stages)
    n = 12 + 2 * reach
    volume, background, mask = scene(denoiser, shape=(n, n + 2, n), radius=4)
    wide = background.reshape(-1, 1, 1, 1).repeat(1, n + 20, n + 14, n + 9)
    wide_mask = torch.zeros(wide.shape[1:], dtype=torch.bool)
    place = (slice(13, 13 + n), slice(5, 7 + n), slice(9, 9 + n))
    wide[(slice(None), *place)], wide_mask[place] = volume, mask
    tight = run_stages(stages, volume, background, Active(mask, Boxes()))
    loose = run_stages(stages, wide, background, Active(wide_mask, Boxes()))
    assert relative_difference(tight, loose[(slice(None), *place)]) <= ROUNDING


@torch.inference_mode()
@pytest.mark.skipif(not cpu_has_bfloat16(), reason="this processor has no bfloat16")
def test_limited_reach_and_half_precision_are_close():
    denoiser = DENOISERS[1]
    volume, background, mask = scene(denoiser, radius=9)
    exact = run_stages(denoiser.stages(), volume, background, Active(mask, Boxes()))[:, mask]
    near = run_stages(
        denoiser.stages(), volume, background, Active(mask, Boxes(max_reach_voxels=3))
    )
    assert relative_difference(near[:, mask], exact) < 1e-2
    half = run_stages(
        denoiser.stages(), volume, background, Active(mask, Boxes(dtype=torch.bfloat16))
    )
    assert half.dtype == torch.float32
    assert 1e-7 < relative_difference(half[:, mask], exact) < 3e-2


@pytest.mark.gpu
@denoisers
@torch.inference_mode()
def test_gpu_equals_cpu(denoiser):
    volume, background, mask = scene(denoiser)
    on_cpu = run_stages(denoiser.stages(), volume, background, Active(mask, Boxes()))
    stages = deepcopy(denoiser).cuda().stages()
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        active = Active(mask.cuda(), Boxes(planes=16))
        on_gpu = run_stages(stages, volume.cuda(), background.cuda(), active).cpu()
    assert relative_difference(on_gpu, on_cpu) <= 1e-5
