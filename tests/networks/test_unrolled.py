from __future__ import annotations

import pytest
import torch
from properties import ball, relative_difference, with_statistics

from isdu_bids.networks.registry import ISDU
from isdu_bids.networks.unrolled import Architecture, ISDUQSMNet
from isdu_bids.networks.weights import Weights
from isdu_bids.physics.dipole import convolve, dipole_kernel

GEOMETRY = {"voxel_size_mm": (1, 1, 1), "b0_direction": (0, 0, 1)}
SMALL = Architecture(iterations=2, depth=4, features=4)


def small_network(**changes) -> ISDUQSMNet:
    torch.manual_seed(0)
    return with_statistics(ISDUQSMNet(Architecture(**{**SMALL.as_dict(), **changes})))


def susceptibility(*volumes, **parameters) -> torch.Tensor:
    return ISDU(*volumes, **parameters).chi_ppm


def test_unshared_has_one_denoiser_and_lambda_per_iteration():
    unshared, shared = small_network(), small_network(shared=True)
    assert len(unshared.denoisers) == len(unshared.lambdas) == 2
    assert len(shared.denoisers) == len(shared.lambdas) == 1


def test_iterates_satisfy_their_normal_equations(generator):
    """(D^2 + lambda) chi = D y + lambda z, on the channel that the data constrain."""
    network = small_network()
    shape = (12, 10, 14)
    kernel = dipole_kernel(shape, (1, 1, 2), (0, 0.6, 0.8))
    field = 0.01 * torch.randn((1, 1, *shape), generator=generator)
    everywhere = torch.ones_like(field)
    with torch.inference_mode():
        for k, step in enumerate(network.iterate(field, everywhere, kernel)):
            weight = network.lambdas[k]
            chi, z = step.consistent[:, :1], step.denoised[:, :1]
            left = convolve(convolve(chi, kernel), kernel) + weight * chi
            right = convolve(field, kernel) + weight * z
            assert torch.allclose(left, right, atol=1e-7)


def test_data_count_only_inside_the_mask_of_a_known_field(generator):
    """Inside the mask the field is explained better than by a field of zero around it."""
    proposals, known = small_network(), small_network(known_field=True, masked_prior=True)
    shape = (16, 16, 16)
    kernel = dipole_kernel(shape, (1, 1, 1), (0, 0, 1))
    mask = ball(shape, 5.0)[None, None].float()
    field = convolve(0.03 * mask * torch.randn((1, 1, *shape), generator=generator), kernel)

    def misfit(chi: torch.Tensor) -> float:
        return float((mask * (convolve(chi, kernel) - field)).square().sum())

    with torch.inference_mode():
        step, *_ = known.iterate(field * mask, mask, kernel)
        zero, *_ = proposals.iterate(
            field * mask, mask, kernel, denoise=lambda _, seen: step.denoised / 0.03
        )
        everywhere = torch.ones_like(mask)
        assert torch.allclose(
            known(field, everywhere, kernel), proposals(field, everywhere, kernel), atol=1e-7
        )
    z, chi = step.denoised[:, :1], step.consistent[:, :1]
    weight = known.lambdas[0].item()
    assert misfit(chi) + weight * float((chi - z).square().sum()) < misfit(z)
    assert misfit(chi) < misfit(zero.consistent[:, :1])


def test_batch_equals_single_samples(generator):
    network = small_network()
    kernels = torch.stack([dipole_kernel((8, 8, 8), (1, 1, s), (0, 0, 1)) for s in (1, 2)])[:, None]
    fields = torch.randn((2, 1, 8, 8, 8), generator=generator)
    mask = torch.ones_like(fields)
    with torch.inference_mode():
        both = network(fields, mask, kernels)
        for i in range(2):
            alone = network(fields[i : i + 1], mask[:1], kernels[i, 0])
            assert torch.allclose(both[i : i + 1], alone, atol=1e-6)


def test_gradients_reach_every_parameter(generator):
    network = small_network().train()
    field = torch.randn((1, 1, 8, 8, 8), generator=generator)
    kernel = dipole_kernel((8, 8, 8), (1, 1, 1), (0, 0, 1))
    network(field, torch.ones_like(field), kernel).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


@pytest.mark.parametrize("shape", [(20, 22, 24), (21, 19, 23)])
def test_inference_keeps_shape_and_mask(shape, generator):
    weights = Weights("small", small_network(), "", "")
    mask = ball(shape, 7)
    field = torch.randn(shape, generator=generator) * 0.01
    chi = susceptibility(field, mask, **GEOMETRY, weights=weights)
    assert chi.shape == field.shape
    assert torch.all(chi[~mask] == 0)
    assert chi[mask].std() > 0


def test_field_outside_the_mask_has_no_influence(generator):
    weights = Weights("small", small_network(), "", "")
    mask = ball((20, 20, 20), 6)
    field = torch.randn((20, 20, 20), generator=generator) * 0.01
    dirty = torch.where(mask, field, 100.0)
    clean = susceptibility(field, mask, **GEOMETRY, weights=weights)
    assert torch.equal(clean, susceptibility(dirty, mask, **GEOMETRY, weights=weights))


def test_inference_tells_every_iteration(generator):
    """A network of the first iteration alone ends where the whole one passes."""
    network = small_network()
    mask = ball((20, 20, 20), 6)
    field = torch.randn((20, 20, 20), generator=generator) * 0.01
    found = ISDU(field, mask, **GEOMETRY, weights=Weights("small", network, "", ""))
    assert torch.equal(found.chi_ppm, found.iterates[-1])
    assert found.lambdas == pytest.approx(network.lambdas.tolist())
    one = small_network(iterations=1)
    one.denoisers[0].load_state_dict(network.denoisers[0].state_dict())
    first = susceptibility(field, mask, **GEOMETRY, weights=Weights("small", one, "", ""))
    assert torch.allclose(found.iterates[0], first, atol=1e-7)
    assert relative_difference(found.chi_ppm, first) > 0.01


def test_moving_the_head_in_its_volume_changes_nothing(generator):
    weights = Weights("small", small_network(), "", "")
    mask = ball((20, 20, 20), 5)
    field = torch.randn((20, 20, 20), generator=generator) * 0.01 * mask
    geometry = {**GEOMETRY, "weights": weights}
    big_field, big_mask = torch.zeros(60, 60, 60), torch.zeros(60, 60, 60, dtype=torch.bool)
    big_field[30:50, 22:42, 25:45], big_mask[30:50, 22:42, 25:45] = field, mask
    moved = susceptibility(big_field, big_mask, **geometry)[30:50, 22:42, 25:45]
    assert moved.shape == mask.shape
    centred = torch.zeros(60, 60, 60)
    centred[20:40, 20:40, 20:40] = field
    centred_mask = centred.new_zeros(60, 60, 60, dtype=torch.bool)
    centred_mask[20:40, 20:40, 20:40] = mask
    reference = susceptibility(centred, centred_mask, **geometry)[20:40, 20:40, 20:40]
    assert torch.allclose(moved, reference, atol=1e-6)
