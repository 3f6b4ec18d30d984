"""Means over a half spectrum are those over the whole one."""

from __future__ import annotations

import math

import pytest
import torch

from isdu_bids.physics.dipole import spectrum
from isdu_bids.physics.power import multiplicity, spectral_mean, wave_number_per_mm

SHAPES = [(6, 5, 8), (6, 5, 7), (4, 4, 1)]


@pytest.mark.parametrize("shape", SHAPES)
def test_mean_power_is_the_energy(shape, generator):
    """Parseval: the mean of ``|F x|^2`` is the sum of ``x^2``."""
    volume = torch.randn(shape, generator=generator)
    mean = spectral_mean(spectrum(volume).abs().square(), shape)
    assert mean == pytest.approx(float(volume.square().sum()), rel=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_frequency_is_counted_once(shape):
    assert multiplicity(shape).sum() == shape[2]


@pytest.mark.parametrize("shape", SHAPES)
def test_means_over_shells_are_those_of_the_whole_spectrum(shape, generator):
    size = (1.0, 2.0, 1.5)
    volume = torch.randn(shape, generator=generator)
    grids = torch.meshgrid(
        *(torch.fft.fftfreq(n, d, dtype=torch.float64) for n, d in zip(shape, size, strict=True)),
        indexing="ij",
    )
    whole = torch.stack(grids).norm(dim=0) < 0.2
    mean = float(torch.fft.fftn(volume).abs().square()[whole].mean())
    inside = wave_number_per_mm(shape, size) < 0.2
    power = spectrum(volume).abs().square()
    assert spectral_mean(power, shape, inside) == pytest.approx(mean, rel=1e-5)
    assert math.isnan(spectral_mean(power, shape, inside & ~inside))
