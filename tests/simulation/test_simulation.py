from __future__ import annotations

import numpy as np
import pytest
import torch

from isdu_bids.errors import DataError
from isdu_bids.physics.dipole import convolve
from isdu_bids.simulation.demo_head import demo_head
from isdu_bids.simulation.patches import PatchSettings, draw_patch, random_b0_direction
from isdu_bids.simulation.random_fields import multiscale_texture, smooth_field, smooth_noise, tubes
from isdu_bids.simulation.sampling import nearest_labels, partial_volume
from isdu_bids.simulation.scan import simulate_scan
from isdu_bids.simulation.susceptibility import brain_mask, draw_susceptibility
from isdu_bids.units import rad_per_ppm

SIZE = (3.0, 3.0, 3.0)


@pytest.fixture(scope="module")
def head() -> torch.Tensor:
    return demo_head((56, 68, 62), SIZE, torch.Generator().manual_seed(0))


def test_the_head_has_what_makes_qsm_hard(head):
    present = set(head.unique().tolist())
    assert {0, 2, 3, 4, 13, 16, 24, 41, 42, 52, 511, 514, 515} <= present
    volume_ml = float(brain_mask(head).sum()) * np.prod(SIZE) / 1000
    assert 1100 < volume_ml < 1500
    left, right = (head == 13).nonzero().float().mean(0), (head == 52).nonzero().float().mean(0)
    assert left[0] < right[0]
    assert torch.allclose(left[1:], right[1:], atol=1)


def test_susceptibility_is_reproducible_and_in_the_brain(head):
    first, again, other = (
        draw_susceptibility(head, SIZE, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not first[~brain_mask(head)].any()


def test_iron_rich_nuclei_are_paramagnetic_on_average(head):
    values = []
    for seed in range(8):
        chi = draw_susceptibility(head, SIZE, torch.Generator().manual_seed(seed))
        values.append(float(chi[head == 13].median() - chi[head == 2].median()))
    assert 0.08 < np.mean(values) < 0.22


def test_smooth_field_has_no_kinks(generator):
    shape, steps = (60, 50, 40), []
    for make in (smooth_field, smooth_noise):
        volume = make(shape, (1, 1, 1), 15.0, generator)
        steps.append(float(volume.diff(n=2, dim=0).abs().max() / volume.diff(dim=0).abs().max()))
    # half waves of 15 mm bend by pi / 15 of their slope and less, up to chance; kinks by all of it
    assert steps[0] < 0.4 < 0.7 < steps[1]


def test_smooth_field_has_unit_size(generator):
    square = [smooth_field((60, 50, 40), (1, 1, 1), 15.0, generator).square() for _ in range(12)]
    assert float(torch.stack(square).mean().sqrt()) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("shape", [(40, 44, 36), (64, 30, 50)])
def test_smooth_noise_has_unit_spread_at_any_resolution(shape, generator):
    spread = [float(smooth_noise(shape, (1, 1, 1), 6.0, generator).std()) for _ in range(12)]
    assert np.mean(spread) == pytest.approx(1, abs=0.15)
    assert float(multiscale_texture(shape, (1, 1, 1), generator).std()) == pytest.approx(
        1, abs=0.35
    )


def test_tubes_fill_little_of_the_volume(generator):
    vessels = tubes((48, 48, 48), (1, 1, 1), 9.0, 0.06, generator)
    assert 0 <= float(vessels.min()) <= float(vessels.max()) <= 1
    assert 0.0005 < float((vessels > 0.5).float().mean()) < 0.05


def test_nearest_labels_are_zero_outside():
    labels = torch.arange(1, 9, dtype=torch.int16).reshape(2, 2, 2)
    points = torch.tensor([[0.0, 0, 0], [0.6, 0.4, 0.6], [-0.6, 0, 0], [1.0, 1.0, 1.6]])
    assert nearest_labels(labels, points).tolist() == [1, 6, 0, 0]


def test_partial_volume_keeps_constants_and_kills_the_nyquist_frequency():
    assert torch.allclose(partial_volume(torch.full((6, 6, 6), 2.0), 0.25), torch.tensor(2.0))
    sign = torch.tensor([1.0, -1.0]).repeat(4)
    assert partial_volume(sign.expand(8, 8, 8), 0.25)[:, :, 1:-1].abs().max() < 1e-6


def test_patch_field_is_that_of_its_susceptibility(head):
    """Without noise and background, the patch's own chi explains the field inside the mask."""
    settings = PatchSettings(size=24, max_noise_ppm=0, max_background_ppm=0)
    explained = 0
    for seed in range(12):
        patch = draw_patch(head, torch.Generator().manual_seed(seed), settings)
        assert patch.field_ppm.shape == (1, 24, 24, 24)
        assert torch.all(patch.field_ppm[patch.mask == 0] == 0)
        own = convolve(patch.chi_ppm, patch.kernel) * patch.mask
        explained += torch.allclose(own, patch.field_ppm, atol=1e-6)
    assert explained >= 5  # the others keep sources between the eroded mask and the brain's edge


def test_patches_depend_on_the_seed_alone(head):
    settings = PatchSettings(size=16)
    first, again = (draw_patch(head, torch.Generator().manual_seed(5), settings) for _ in range(2))
    assert torch.equal(first.field_ppm, again.field_ppm)
    assert first.b0_direction == again.b0_direction


def test_b0_directions_are_unit_vectors_and_often_axial(generator):
    directions = torch.tensor([random_b0_direction(generator) for _ in range(400)])
    assert torch.allclose(directions.norm(dim=1), torch.ones(400), atol=1e-5)
    axial = float((directions[:, 2] > np.cos(np.deg2rad(15))).float().mean())
    assert 0.4 < axial < 0.65


def test_a_map_without_brain_is_refused(generator):
    with pytest.raises(DataError, match="FreeSurfer"):
        draw_patch(torch.full((20, 20, 20), 511, dtype=torch.int16), generator, PatchSettings())


def test_phase_of_a_scan_follows_its_field(head):
    """Phase difference of two echoes = 2 pi gamma B0 dTE field, up to noise and turns."""
    scan = simulate_scan(
        head,
        torch.Generator().manual_seed(0),
        voxel_size_mm=SIZE,
        b0_direction=(0, 0, 1),
        echo_times_s=(0.004, 0.006),
        snr=1e4,
    )
    expected = rad_per_ppm(3.0, 0.002) * scan.total_field_ppm
    difference = scan.phase_rad[1] - scan.phase_rad[0] - expected
    inside = scan.brain_mask & (scan.magnitude[1] > 100)
    error = torch.angle(torch.exp(1j * difference))[inside]
    assert float(error.abs().quantile(0.99)) < 0.01


def test_local_field_is_that_of_the_brain_alone(head):
    scan = simulate_scan(
        head,
        torch.Generator().manual_seed(0),
        voxel_size_mm=SIZE,
        b0_direction=(0, 0, 1),
        echo_times_s=(0.004,),
    )
    background = (scan.total_field_ppm - scan.local_field_ppm)[scan.brain_mask]
    assert float(background.std()) > 5 * float(scan.local_field_ppm[scan.brain_mask].std())
    # the background has no sources in the brain, so the mean of neighbours predicts it there
    field = scan.total_field_ppm - scan.local_field_ppm
    laplacian = sum(field.roll(s, a) for a in range(3) for s in (1, -1)) - 6 * field
    deep = torch.nn.functional.max_pool3d(-scan.brain_mask.float()[None], 9, 1, 4)[0] < -0.5
    own = scan.local_field_ppm
    rough = sum(own.roll(s, a) for a in range(3) for s in (1, -1)) - 6 * own
    assert laplacian[deep].std() < 0.3 * rough[deep].std()
