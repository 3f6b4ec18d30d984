from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch

from isdu_bids.errors import DataError
from isdu_bids.physics.dipole import convolve, dipole_kernel
from isdu_bids.simulation.demo_head import demo_head
from isdu_bids.simulation.field_errors import (
    field_errors,
    truncate_k_space,
    unwrapping_leftovers,
)
from isdu_bids.simulation.patches import PatchSettings, draw_patch
from isdu_bids.simulation.sampling import block_mean
from isdu_bids.simulation.susceptibility import brain_mask, check_labels, draw_susceptibility
from isdu_bids.simulation.whole_head import draw_head, scan_head, tilted_b0

SIZE = (3.0, 3.0, 3.0)
CLEAN = PatchSettings(size=16, max_noise_ppm=0, max_background_ppm=0)
#: Every option that is off by default, switched on.
ON = {
    "max_structured_ppm": 0.004,
    "cut_fraction": 1.0,
    "max_echo_time_s": 0.03,
    "wrap_fraction": 1.0,
    "gibbs_fraction": 1.0,
    "finer_grid": 2,
    "cyst_fraction": 1.0,
    "pallidum_iron_fraction": 1.0,
    "max_lesion_ppm": 4.0,
}

#: Of a patch drawn from the seed 11 before these options existed: B0, sums of |field|, mask, |chi|;
#: the field since the dipole kernel is symmetric on Nyquist planes (2.8234272 before).
BEFORE_B0 = (-0.8517617, -0.4961280, 0.1684014)
BEFORE_SUMS = (3.2826642, 688.0, 12.8043404)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def head() -> torch.Tensor:
    return demo_head((56, 68, 62), SIZE, seeded(0))


def test_default_patches_stay_as_they_were(head):
    """A training run that goes on after an update must see the patches it would have seen."""
    patch = draw_patch(head, seeded(11), PatchSettings(size=16))
    assert patch.b0_direction == pytest.approx(BEFORE_B0, abs=1e-6)
    sums = [float(v.double().abs().sum()) for v in (patch.field_ppm, patch.mask, patch.chi_ppm)]
    assert sums == pytest.approx(BEFORE_SUMS, rel=1e-4)


@pytest.mark.parametrize("name", ON)
def test_every_option_changes_patches_and_keeps_them_sound(name, head):
    assert name in {field.name for field in fields(PatchSettings)}
    settings = replace(PatchSettings(size=16), **{name: ON[name]})
    changed = 0
    for seed in range(6):
        patch = draw_patch(head, seeded(seed), settings)
        again = draw_patch(head, seeded(seed), settings)
        assert torch.equal(patch.field_ppm, again.field_ppm)
        assert patch.field_ppm.shape == patch.chi_ppm.shape == (1, 16, 16, 16)
        assert patch.kernel.shape == (16, 16, 9)
        assert torch.isfinite(patch.field_ppm).all()
        assert not patch.field_ppm[patch.mask == 0].any()
        plain = draw_patch(head, seeded(seed), PatchSettings(size=16))
        changed += not torch.equal(patch.field_ppm, plain.field_ppm)
    assert changed >= 2


def test_a_finer_grid_gives_partial_volume(head):
    """Half of a voxel's boundary values lie between two tissues; a coarse grid knows no between."""
    flat = torch.zeros(8, 8, 8)
    flat[:3] = 1.0
    assert block_mean(flat, 2)[:, 0, 0].tolist() == [1.0, 0.5, 0.0, 0.0]
    fine = replace(CLEAN, finer_grid=2, voxel_size_mm=(2.0, 2.0))
    patch = draw_patch(head, seeded(3), fine)
    # the mean of the fine field is close to, and not the same as, the field of the mean
    own = convolve(patch.chi_ppm, patch.kernel) * patch.mask
    difference = (own - patch.field_ppm).norm() / patch.field_ppm.norm()
    assert 0.001 < float(difference) < 0.5


def test_unwrapping_leftovers_are_few_and_a_turn_high():
    mask = torch.zeros(20, 20, 20, dtype=torch.bool)
    mask[4:16, 4:16, 4:16] = True
    sizes = []
    for seed in range(30):
        leftovers = unwrapping_leftovers(mask, seeded(seed))
        assert not leftovers[~mask].any()
        turns = leftovers[leftovers != 0].abs()
        assert torch.allclose(turns, turns[0])
        assert 0.1 <= float(turns[0]) <= 0.8
        sizes.append(len(turns))
    assert min(sizes) <= 2  # isolated voxels
    assert 10 < max(sizes) <= 8 * 27  # clusters
    assert not unwrapping_leftovers(torch.zeros_like(mask), seeded(0)).any()


def test_truncated_k_space_rings():
    """A step overshoots by 9 % of its height; a field within the band is left alone."""
    n = 512
    ones = torch.ones(n, 2, 2)
    step = torch.zeros(n, 2, 2)
    step[128:384] = 0.01  # small phases, so that the signal is linear in the field
    ringing = truncate_k_space(step, ones, 1.0, 0.25)
    assert float(ringing.max()) == pytest.approx(0.0109, abs=1e-4)
    assert torch.allclose(truncate_k_space(step, ones, 1.0, 1.0), step, atol=1e-7)
    turns = (torch.arange(n) / n * 2 * torch.pi)[:, None, None].expand(n, 2, 2)
    wave = 0.01 * torch.sin(4 * turns)
    assert torch.allclose(truncate_k_space(wave, ones, 1.0, 0.5), wave, atol=1e-6)
    # turns of the phase are no steps of the field
    assert torch.allclose(truncate_k_space(2 * turns, ones, 1.0, 0.5), 2 * turns, atol=1e-4)


def test_noise_grows_where_iron_shortens_t2star():
    """exp(TE R2*) with 125 1/s per ppm: the ratio of two draws of the same noise."""
    chi = torch.zeros(16, 16, 16)
    chi[8:] = 0.2
    mask = torch.ones(16, 16, 16, dtype=torch.bool)
    kernel = dipole_kernel(chi.shape, (1, 1, 1), (0, 0, 1))
    options = {"max_noise_ppm": 0.01, "max_background_ppm": 0}
    white, late = (
        field_errors(chi, mask, kernel, (1, 1, 1), seeded(0), max_echo_time_s=time, **options)
        for time in (0.0, 0.04)
    )
    ratio = late / white
    assert torch.allclose(ratio[:8], torch.ones(()))
    assert torch.allclose(ratio[8:], ratio[8, 0, 0])
    assert 1 < float(ratio[8, 0, 0]) <= float(torch.tensor(0.04 * 125 * 0.2).exp())


def test_rare_sources_lie_where_they_belong(head):
    """The same random numbers with and without: what is added last changes nothing before it."""
    pallidum = (head == 13) | (head == 52)
    raised = 0
    for seed in range(5):
        plain = draw_susceptibility(head, SIZE, seeded(seed))
        cyst = draw_susceptibility(head, SIZE, seeded(seed), cyst_fraction=1.0)
        inside = cyst != plain
        assert inside.any()
        assert len(cyst[inside].unique()) == 1  # fluid has no texture
        assert float(cyst[inside].abs().max()) <= 0.02
        iron = draw_susceptibility(head, SIZE, seeded(seed), pallidum_iron_fraction=1.0)
        raised += float(iron[pallidum].max()) > float(plain[pallidum].max())
    assert raised >= 3


def test_lesions_reach_several_ppm(head):
    extremes = torch.tensor(
        [
            draw_susceptibility(head, SIZE, seeded(seed), max_lesion_ppm=5.0).aminmax()
            for seed in range(25)
        ]
    )
    assert 2.0 < float(extremes.max()) <= 5.0
    assert -3.75 <= float(extremes.min()) < -1.0


def test_a_whole_head_is_measured_in_any_direction(head):
    labels = head[:40, :40, :40]
    chi, mask = draw_head(labels, SIZE, seeded(1))
    assert float(chi[mask].mean()) == pytest.approx(0, abs=1e-6)
    assert not (mask & ~brain_mask(labels)).any()
    clean = {"max_noise_ppm": 0.0, "max_background_ppm": 0.0}
    axial = scan_head(chi, mask, SIZE, (0, 0, 1), seeded(2), **clean)
    tilted = scan_head(chi, mask, SIZE, (0, 0.6, 0.8), seeded(2), **clean)
    assert torch.equal(axial.chi_ppm, tilted.chi_ppm)
    assert not axial.field_ppm[~mask].any()
    assert float((axial.field_ppm - tilted.field_ppm).norm() / axial.field_ppm.norm()) > 0.02


def test_b0_is_tilted_within_its_bounds(generator):
    for _ in range(100):
        x, y, z = tilted_b0(30.0, generator)
        assert max(abs(x), abs(y)) / z <= 0.5774
    assert tilted_b0(0.0, generator) == (0, 0, 1)


@pytest.mark.parametrize(("value", "message"), [(1030, "aseg"), (-1, "-1"), (511, "no brain")])
def test_label_maps_of_another_kind_are_refused(value, message):
    with pytest.raises(DataError, match=message):
        check_labels(torch.full((4, 4, 4), value), "head.nii.gz")
