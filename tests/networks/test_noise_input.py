"""Networks that are told the field's standard deviation, and where they start."""

from __future__ import annotations

import pytest
import torch
from test_unrolled import small_network

from isdu_bids.errors import UsageError
from isdu_bids.networks.unrolled import LEAST_SD_PPM, REFERENCE_SD_PPM, Noise
from isdu_bids.physics.dipole import convolve, dipole_kernel

SHAPE = (12, 10, 14)
KERNEL = dipole_kernel(SHAPE, (1, 1, 2), (0, 0.6, 0.8))


@pytest.fixture
def field(generator) -> torch.Tensor:
    return 0.01 * torch.randn((1, 1, *SHAPE), generator=generator)


def told(sd_ppm: float, like: torch.Tensor) -> torch.Tensor:
    return torch.full_like(like, sd_ppm)


@torch.inference_mode()
def only(network, *inputs):
    return network(*inputs)


def test_the_noise_must_be_told(field):
    with pytest.raises(UsageError, match="field_sd_ppm"):
        only(small_network(noise_input=True), field, torch.ones_like(field), KERNEL)


def test_a_network_without_the_input_ignores_it(field):
    network, mask = small_network(), torch.ones_like(field)
    with_it = only(network, field, mask, KERNEL, told(0.01, field))
    assert torch.equal(with_it, only(network, field, mask, KERNEL))


@pytest.mark.parametrize("ratio", [1.0, 4.0])
def test_lambda_follows_the_level(field, ratio):
    """lambda_k = exp(l_k) (level / reference)^p_k, by the normal equations of each iterate."""
    network, mask = small_network(noise_input=True), torch.ones_like(field)
    with torch.inference_mode():
        network.noise_powers[:] = torch.tensor([0.5, 1.5])
        sd = told(ratio * REFERENCE_SD_PPM, field)
        for k, step in enumerate(network.iterate(field, mask, KERNEL, sd)):
            weight = network.lambdas[k] * ratio ** float(network.noise_powers[k])
            chi, z = step.consistent[:, :1], step.denoised[:, :1]
            left = convolve(convolve(chi, KERNEL), KERNEL) + weight * chi
            right = convolve(field, KERNEL) + weight * z
            assert torch.allclose(left, right, atol=1e-7)


def test_each_sample_of_a_batch_has_its_own_level(field, generator):
    network = small_network(noise_input=True, solve_first=True)
    fields = torch.cat([field, field.flip(-1)])
    sds = torch.cat([told(0.002, field), told(0.02, field)])
    mask = torch.ones_like(fields)
    both = only(network, fields, mask, KERNEL, sds)
    for i in range(2):
        one = slice(i, i + 1)
        alone = only(network, fields[one], mask[one], KERNEL, sds[one])
        assert torch.allclose(both[one], alone, atol=1e-6)


def test_a_number_is_a_map_of_that_number(field):
    """What a map says outside the mask does not matter."""
    mask = torch.zeros_like(field)
    mask[..., 3:9, 2:8, 3:11] = 1
    network, inside = small_network(noise_input=True), field * mask
    number = only(network, inside, mask, KERNEL, told(0.005, field))
    dirty = torch.where(mask > 0, 0.005, 7.0)
    assert torch.allclose(only(network, inside, mask, KERNEL, dirty), number, atol=1e-7)
    other = torch.where(mask > 0, 0.005 * (1 + torch.arange(SHAPE[2]) / SHAPE[2]), 0.0)
    assert not torch.allclose(only(network, inside, mask, KERNEL, other), number, atol=1e-5)


def test_level_is_the_root_mean_square_inside_the_mask():
    sd = torch.full((1, 1, 4, 4, 4), 99.0)
    mask = torch.zeros_like(sd)
    mask[..., :2, :, :] = 1
    sd[..., 0, :, :], sd[..., 1, :, :] = REFERENCE_SD_PPM, 7 * REFERENCE_SD_PPM
    noise = Noise.of(sd, mask)
    assert float(noise.level) == pytest.approx(5)  # sqrt((1 + 49) / 2)
    assert torch.allclose(noise.log_map[..., 1, :, :], torch.tensor(7.0).log())
    assert not noise.log_map[..., 2:, :, :].any()
    empty = Noise.of(torch.zeros_like(sd), torch.zeros_like(sd))
    assert float(empty.level) == pytest.approx(LEAST_SD_PPM / REFERENCE_SD_PPM)


def test_the_first_denoiser_starts_from_the_least_squares_solution(field):
    """(D^2 + lambda_0) chi_0 = D y, where lambda_0 follows the level as the power 3/4."""
    for noise_input, level in ((False, 1.0), (True, 16.0)):
        network = small_network(solve_first=True, noise_input=noise_input)
        net, seen = network.architecture, []

        def keep(index, state, seen=seen):
            seen.append(state)
            return state[:, :2]

        with torch.inference_mode():
            sd = told(level * REFERENCE_SD_PPM, field)
            list(network.iterate(field, torch.ones_like(field), KERNEL, sd, denoise=keep))
            chi = seen[0][:, :1] * net.chi_std_ppm + net.chi_mean_ppm
            weight = network.log_lambda_0.exp() * level**0.75
        left = convolve(convolve(chi, KERNEL), KERNEL) + weight * chi
        assert torch.allclose(left, convolve(field, KERNEL), atol=1e-7)


def test_gradients_reach_every_parameter(field):
    network = small_network(noise_input=True, solve_first=True).train()
    sd = told(0.01, field)
    network(field, torch.ones_like(field), KERNEL, sd).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
