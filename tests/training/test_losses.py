from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from isdu_bids.physics.dipole import convolve, dipole_kernel
from isdu_bids.training.losses import paper_loss, sobel, susceptibility_loss

KERNEL = dipole_kernel((8, 8, 8), (1, 1, 1), (0, 0, 1))


def test_sobel_filters_are_those_of_scipy():
    volume = torch.randn(1, 1, 9, 8, 7)
    for axis, derivative in enumerate(sobel(volume)[0]):
        expected = ndimage.sobel(volume[0, 0].numpy(), axis, mode="constant")
        np.testing.assert_allclose(derivative, expected, atol=1e-5)


def test_sobel_of_a_unit_slope_is_32():
    ramp = torch.arange(8.0)[:, None, None].expand(8, 8, 8)
    slopes = sobel(ramp[None, None])[0, :, 1:-1, 1:-1, 1:-1]
    assert torch.all(slopes[0] == 32)
    assert torch.all(slopes[1:] == 0)


def test_paper_loss_is_the_sum_of_its_terms():
    """Every term by hand, with numpy's FFT and scipy's filters."""
    chi, target, field = torch.randn(3, 1, 1, 8, 8, 8)
    mask = (torch.rand(1, 1, 8, 8, 8) > 0.4).float()
    chi, target = chi * mask, target * mask
    error = (chi - target)[0, 0].numpy()
    gradient = [ndimage.sobel(error, axis, mode="constant") for axis in range(3)]
    predicted = np.fft.irfftn(np.fft.rfftn(chi[0, 0].numpy()) * KERNEL.numpy())
    m = mask[0, 0].numpy()
    expected = (
        np.abs(error).mean()
        + 0.5 * np.abs(gradient).mean()
        + 0.5 * np.abs(m * field[0, 0].numpy() - m * predicted).mean()
    )
    assert float(paper_loss(chi, target, mask, KERNEL, field)) == pytest.approx(expected, rel=1e-5)


def test_paper_loss_of_the_truth_is_what_its_periodic_field_misses():
    target = torch.randn(1, 1, 8, 8, 8)
    mask = torch.ones_like(target)
    field = convolve(target, KERNEL)
    assert float(paper_loss(target, target, mask, KERNEL, field)) == 0
    off = float(paper_loss(target, target, mask, KERNEL, field + 0.1))
    assert off == pytest.approx(0.05, rel=1e-5)


def test_losses_of_an_empty_patch_are_finite():
    """Overlapping patches of a whole head reach outside the brain."""
    nothing = torch.zeros(1, 1, 8, 8, 8)
    assert float(paper_loss(nothing, nothing, nothing, KERNEL, nothing)) == 0
    assert float(susceptibility_loss(nothing, nothing, nothing, KERNEL)) == 0
