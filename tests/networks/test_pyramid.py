"""A multi-scale denoiser in boxes is the plain forward pass, at every resolution."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from properties import ball, relative_difference, with_statistics

from isdu_bids.networks.boxes import Active, Boxes
from isdu_bids.networks.multiscale import MultiScale
from isdu_bids.networks.pyramid import Pyramid
from isdu_bids.physics.device import cpu_has_bfloat16

ROUNDING = 3e-6
torch.manual_seed(0)
DENOISERS = [
    with_statistics(MultiScale(2, 3, features=4, blocks=blocks))
    for blocks in ((1, 1, 1, 1, 0), (0, 1, 1, 0, 1))
]
denoisers = pytest.mark.parametrize("denoiser", DENOISERS)


def scene(shape, radius=4.0):
    """Random input inside an off-centre ball, a constant background outside."""
    mask = ball(shape, radius).roll((2, -1, 1), (0, 1, 2))
    background = torch.tensor([0.3, -0.2, 0.0])
    volume = torch.randn((3, *shape), generator=torch.Generator().manual_seed(1))
    return torch.where(mask, volume, background.reshape(-1, 1, 1, 1)), background, mask


@denoisers
@pytest.mark.parametrize("planes", [3, 8, 100])
@torch.inference_mode()
def test_boxes_equal_the_plain_forward_pass(denoiser, planes):
    """Wherever the volume's faces are too far to be seen."""
    margin = Pyramid.of(denoiser).reach(None)
    volume, background, mask = scene((2 * margin + 16, 2 * margin + 14, 2 * margin + 16))
    plain = denoiser(volume[None])[0]
    active = Active(mask, Boxes(planes=planes, rows=planes))
    in_boxes = Pyramid.of(denoiser).run(volume, background, active, None)
    inner = (slice(None), *(slice(margin - 6, 6 - margin),) * 3)
    assert relative_difference(in_boxes[inner], plain[inner]) <= ROUNDING


@denoisers
@torch.inference_mode()
def test_what_is_needed_inside_the_mask_is_exact_in_a_tight_volume(denoiser):
    """Its margin is what the form says, and rounds up to the coarsest grid."""
    form = Pyramid.of(denoiser)
    volume, background, mask = scene((80, 80, 80))
    plain = form.run(volume, background, Active(mask, Boxes()), None)
    margin = -(-form.reach(0) // 4) * 4
    cut = (slice(36 - margin, 48 + margin),) * 3
    assert mask[cut].sum() == mask.sum()
    tight = form.run(volume[(slice(None), *cut)], background, Active(mask[cut], Boxes()), 0)
    expected = (plain * mask)[(slice(None), *cut)]
    assert relative_difference(tight * mask[cut], expected) <= ROUNDING


@denoisers
def test_what_is_needed_grows_towards_the_coarse_levels(denoiser):
    down, up = Pyramid.of(denoiser).needed(0)
    assert up[0] == 0
    assert all(fine >= coarse for fine, coarse in pairwise(down))
    assert Pyramid.of(denoiser).needed(None) == ([None] * 3, [None] * 3)


@torch.inference_mode()
@pytest.mark.skipif(not cpu_has_bfloat16(), reason="this processor has no bfloat16")
def test_half_precision_close_to_the_mask_is_close():
    volume, background, mask = scene((64, 64, 64), radius=10)
    form = Pyramid.of(DENOISERS[0])
    exact = form.run(volume, background, Active(mask, Boxes()), None)
    boxes = Boxes(dtype=torch.bfloat16, max_reach_voxels=3)
    near = form.run(volume, background, Active(mask, boxes), 0)
    assert relative_difference(near[:, mask], exact[:, mask]) <= 0.05  # bfloat16 has 8 bits
