"""Errors of a stated level, and what a network is told of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from isdu_bids.errors import UsageError
from isdu_bids.physics.dipole import dipole_kernel
from isdu_bids.simulation.demo_head import demo_head
from isdu_bids.simulation.field_errors import draw_tissue_shift, levelled_errors
from isdu_bids.simulation.patches import PatchSettings, draw_patch

SIZE_MM, N, LEVEL_PPM = (1.0, 1.0, 1.0), 20, 0.004
KERNEL = dipole_kernel((N, N, N), SIZE_MM, (0, 0, 1))
EVERYWHERE = torch.ones(N, N, N, dtype=torch.bool)
TOLD = replace(PatchSettings(size=16), noise_level_ppm=(0.001, 0.02))


@pytest.fixture(scope="module")
def head() -> torch.Tensor:
    return demo_head((56, 68, 62), (3.0, 3.0, 3.0), torch.Generator().manual_seed(0))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def inner_mask() -> torch.Tensor:
    mask = torch.zeros_like(EVERYWHERE)
    mask[3:17, 3:17, 3:17] = True
    return mask


def draws(mask, n_draws=150, chi=None, **growth):
    """Root mean squares of errors and of stated standard deviations inside the mask, by draw."""
    chi = torch.zeros(N, N, N) if chi is None else chi
    rows = []
    for seed in range(n_draws):
        pair = levelled_errors(chi, mask, KERNEL, SIZE_MM, seeded(seed), LEVEL_PPM, **growth)
        rows.append([float((volume[mask] ** 2).mean()) for volume in pair])
    return torch.tensor(rows, dtype=torch.float64)


def test_errors_have_the_stated_level():
    """Coil shading is log-normal around it: the mean square is up to exp(0.32) = 1.38 times its."""
    squared = draws(EVERYWHERE).mean(0) / LEVEL_PPM**2
    assert 1.0 < float(squared[0]) < 1.45
    assert 1.0 < float(squared[1]) < 1.45


def test_the_stated_standard_deviation_is_that_of_the_errors():
    """Over many draws, and in each of them as far as errors that are correlated can be judged."""
    errors, stated = draws(EVERYWHERE).T
    assert float((errors.mean() / stated.mean()).sqrt()) == pytest.approx(1, abs=0.03)
    ratio = (errors / stated).sqrt()
    assert float(ratio.median()) == pytest.approx(1, abs=0.03)
    assert 0.7 < float(ratio.min()) < float(ratio.max()) < 1.4


def test_it_grows_with_the_errors_at_the_rim_and_where_there_is_iron():
    """The map's mean square follows that of the errors where both are several times the level."""
    chi = 0.2 * (torch.arange(N)[:, None, None] < N // 2) * torch.ones(N, N, N)
    growth = {"max_rim_noise": 4.0, "max_echo_time_s": 0.04}
    plain, grown = draws(inner_mask(), chi=chi), draws(inner_mask(), chi=chi, **growth)
    assert float(grown[:, 1].mean()) > 2 * float(plain[:, 1].mean())
    errors, stated = grown.T
    assert float((errors.mean() / stated.mean()).sqrt()) == pytest.approx(1, abs=0.1)


def test_residual_background_comes_on_top_in_half_of_the_draws():
    """Up to the level, as no echo tells: (1/2) (1/3) of its square on average."""
    errors, stated = draws(inner_mask(), n_draws=300).T / LEVEL_PPM**2
    assert float((errors - stated).mean()) == pytest.approx(1 / 6, abs=0.07)


def test_half_of_the_statements_are_one_number():
    """The root mean square inside the mask, where the others are maps."""
    mask = inner_mask()
    flat = 0
    for seed in range(60):
        _, stated = levelled_errors(
            torch.zeros(N, N, N), mask, KERNEL, SIZE_MM, seeded(seed), LEVEL_PPM, max_rim_noise=2.0
        )
        assert float(stated.min()) > 0
        flat += len(stated.unique()) == 1
    assert 18 <= flat <= 42


def test_everything_scales_with_the_level():
    for seed in range(4):
        one, ten = (
            levelled_errors(torch.zeros(N, N, N), inner_mask(), KERNEL, SIZE_MM, seeded(seed), x)
            for x in (LEVEL_PPM, 10 * LEVEL_PPM)
        )
        for small, large in zip(one, ten, strict=True):
            assert torch.allclose(10 * small, large, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("cut_fraction", [0.0, 1.0])
def test_patches_tell_their_noise(head, cut_fraction):
    settings = replace(TOLD, cut_fraction=cut_fraction, context_voxels=4)
    levels = []
    for seed in range(12):
        patch = draw_patch(head, seeded(seed), settings)
        assert patch.field_sd_ppm.shape == patch.field_ppm.shape
        assert not patch.field_sd_ppm[patch.mask == 0].any()
        inside = patch.field_sd_ppm[patch.mask > 0]
        assert (inside > 0).all()
        levels.append(float(inside.square().mean().sqrt()))
    assert 0.0003 < min(levels) < 0.004 < 0.006 < max(levels) < 0.1  # drawn log-uniformly


def test_without_a_level_nothing_is_told(head):
    assert draw_patch(head, seeded(0), PatchSettings(size=16)).field_sd_ppm is None


@pytest.mark.parametrize("levels", [(0.0, 0.01), (0.02, 0.01)])
def test_levels_that_cannot_be_drawn_are_refused(levels):
    with pytest.raises(UsageError, match="noise_level_ppm"):
        PatchSettings(noise_level_ppm=levels)


def test_a_tissue_shift_follows_regions_and_susceptibility():
    """What region and susceptibility do not explain is what fibres change over 25 mm."""
    labels = torch.zeros(N, N, N, dtype=torch.int16)
    labels[N // 2 :] = 41
    chi = 0.05 * torch.randn(N, N, N, generator=seeded(1))
    for seed in range(5):
        shift = draw_tissue_shift(labels, chi, EVERYWHERE, SIZE_MM, seeded(seed))
        assert float(shift.std()) == pytest.approx(1, abs=1e-4)
        sides = torch.stack([labels.flatten() == 0, labels.flatten() == 41], 1).float()
        axes = torch.meshgrid(*(torch.linspace(-1, 1, N),) * 3, indexing="ij")
        smooth = torch.stack([torch.ones(N**3), *(axis.flatten() for axis in axes)], 1)
        known = torch.cat([chi.reshape(-1, 1), *(side[:, None] * smooth for side in sides.T)], 1)
        rest = (
            shift.flatten() - known @ torch.linalg.lstsq(known, shift.reshape(-1, 1)).solution[:, 0]
        )
        assert float(rest.std()) < 0.3


def test_a_tissue_shift_leaves_the_level_as_it_is():
    labels = torch.zeros(N, N, N, dtype=torch.int16)
    labels[N // 2 :] = 41
    chi = 0.05 * torch.randn(N, N, N, generator=seeded(1))
    shift = draw_tissue_shift(labels, chi, EVERYWHERE, SIZE_MM, seeded(2))
    squared = draws(EVERYWHERE, chi=chi, tissue_shift=shift).mean(0) / LEVEL_PPM**2
    assert 1.0 < float(squared[0]) < 1.45
