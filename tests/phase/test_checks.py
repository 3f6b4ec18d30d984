import numpy as np
import pytest
import torch
from faults import fault

from isdu_bids.geometry import unit_vector
from isdu_bids.phase.checks import check_sign, repair_slice_polarity
from isdu_bids.phase.wrapping import wrap
from isdu_bids.physics.dipole import forward_field

SIZE_MM = (2.0, 2.0, 2.0)


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_alternating_slices_are_repaired_up_to_a_constant(scan, axis):
    n = scan.phase_rad.shape[axis]
    flip = np.pi * (np.arange(n) % 2).reshape([-1 if a == axis else 1 for a in range(4)])
    repaired, flags = repair_slice_polarity(wrap(scan.phase_rad + flip), scan.magnitude)
    assert flags == ("slice_polarity_repaired",)
    np.testing.assert_allclose(wrap(repaired - scan.phase_rad), 0, atol=1e-5)


@fault("slices of one echo alternate by pi", "turned; flagged", 0)
@pytest.mark.parametrize("echo", [0, 2])
def test_alternating_slices_of_one_echo_are_repaired(scan, echo):
    phase = scan.phase_rad.copy()
    phase[echo] = wrap(phase[echo] + np.float32(np.pi) * (np.arange(phase.shape[3]) % 2))
    repaired, flags = repair_slice_polarity(phase, scan.magnitude)
    assert flags == ("slice_polarity_repaired",)
    np.testing.assert_allclose(wrap(repaired - scan.phase_rad), 0, atol=1e-5)


def test_sound_slices_are_left_alone(scan):
    repaired, flags = repair_slice_polarity(scan.phase_rad, scan.magnitude)
    assert flags == ()
    assert repaired is scan.phase_rad


@pytest.fixture(scope="module")
def head():
    """Tissue with a sinus under the brain, in air; its field after a linear shim."""
    shape = (48, 52, 44)
    x, y, z = np.meshgrid(*[(np.arange(n) - n / 2) * 4 for n in shape], indexing="ij")
    tissue = (x / 70) ** 2 + (y / 85) ** 2 + (z / 70) ** 2 < 1
    tissue &= x**2 + (y - 50) ** 2 + (z + 20) ** 2 > 15**2
    brain = (x / 55) ** 2 + (y / 65) ** 2 + ((z - 10) / 45) ** 2 < 1
    brain &= tissue
    chi = torch.from_numpy(-9.4 * tissue.astype(np.float32))
    field = 127.7 * forward_field(chi, (4, 4, 4), (0, 0, 1)).numpy()
    return field - 0.3 * z.astype(np.float32), tissue.astype(np.float32), brain


@pytest.mark.parametrize(("sign", "verdict"), [(1, "right"), (-1, "reversed")])
def test_sign_is_read_from_the_outline_of_the_head(head, sign, verdict):
    field, magnitude, brain = head
    noise = np.random.default_rng(0).standard_normal(field.shape).astype(np.float32)
    check = check_sign(sign * (field + noise), magnitude, brain, (4, 4, 4), (0, 0, 1))
    assert check.verdict == verdict
    assert sign * check.correlation > 0.9


def test_sign_of_noise_is_unclear(head):
    field, magnitude, brain = head
    noise = np.random.default_rng(0).standard_normal(field.shape).astype(np.float32)
    assert check_sign(noise, magnitude, brain, (4, 4, 4), (0, 0, 1)).verdict == "unclear"
    empty = np.zeros_like(brain)
    assert check_sign(field, magnitude, empty, SIZE_MM, (0, 0, 1)).verdict == "unclear"


@fault("a brain mask that holds air", "flagged; the sign of the phase is read in tissue", 0)
def test_air_in_the_mask_does_not_tell_the_sign(head):
    field, magnitude, brain = head
    noise = 100 * np.random.default_rng(0).standard_normal(field.shape).astype(np.float32)
    air = np.where(magnitude > 0, field, noise)
    everything = np.ones_like(brain)
    assert check_sign(air, magnitude, everything, (4, 4, 4), (0, 0, 1)).verdict == "right"


@fault("strong ghosts", "flagged; the sign of the phase is left as it is", 0)
def test_ghosts_do_not_tell_the_sign(head):
    """What fills the air looks like tissue there."""
    field, magnitude, brain = head
    ghosted = magnitude + 0.3 * np.roll(magnitude, magnitude.shape[1] // 2, axis=1)
    for sign in (1, -1):
        check = check_sign(sign * field, ghosted, brain, (4, 4, 4), (0, 0, 1))
        assert check.verdict == "unclear"


@fault("affine turned without the image", "flagged as an error", 0)
@pytest.mark.parametrize("stated", [(0, 1, 1), (1, 0, 1), (-1, 0, 1), (0, -1, 1)])
def test_the_outline_tells_a_wrong_direction_of_b0(head, stated):
    field, magnitude, brain = head
    check = check_sign(field, magnitude, brain, (4, 4, 4), unit_vector(stated))
    assert check.verdict != "right" or check.best_direction == (0, 0, 1)


@pytest.mark.parametrize("tilt_deg", [0, 10, 20])
def test_the_true_direction_of_b0_is_not_doubted(head, tilt_deg):
    _, magnitude, brain = head
    tilt = np.deg2rad(tilt_deg)
    direction = (0.0, float(np.sin(tilt)), float(np.cos(tilt)))
    tissue = torch.from_numpy(-9.4 * magnitude)
    own = 127.7 * forward_field(tissue, (4, 4, 4), direction).numpy()
    assert check_sign(own, magnitude, brain, (4, 4, 4), direction).best_direction is None
