"""Images that are mirrored against the others of their scan are refused by name."""

from itertools import combinations

import numpy as np
import pytest
import torch
from faults import fault
from heads import ECHO_TIMES_S, SHAPE

from isdu_bids.errors import DataError
from isdu_bids.phase.mirroring import (
    antisymmetric_correlation,
    refuse_mirrored_images,
    smoothness,
)
from isdu_bids.simulation.demo_head import demo_head
from isdu_bids.simulation.scan import simulate_scan

SIZE_MM = (4.0, 4.0, 4.0)
AXES = [axes for n in (1, 2, 3) for axes in combinations(range(3), n)]
PHASES, MAGNITUDES = ([f"echo-{k}_part-{part}.nii" for k in (1, 2, 3)] for part in ("phase", "mag"))


@pytest.fixture(scope="module")
def head():
    generator = torch.Generator().manual_seed(1)
    scan = simulate_scan(
        demo_head(SHAPE, SIZE_MM, generator),
        generator,
        voxel_size_mm=SIZE_MM,
        b0_direction=(0, 0, 1),
        echo_times_s=ECHO_TIMES_S,
    )
    return scan.phase_rad.numpy(), scan.magnitude.numpy()


def check(phase, magnitude):
    refuse_mirrored_images(phase, magnitude, SIZE_MM, PHASES, MAGNITUDES)


def refusal(phase, magnitude):
    try:
        check(phase, magnitude)
    except DataError as error:
        return str(error)
    return ""


def flipped(volumes, axes):
    return np.flip(volumes, [axis + 1 for axis in axes])


def test_sound_scans_pass(head):
    phase, magnitude = head
    assert refusal(phase, magnitude) == ""
    for axes in AXES:
        assert refusal(flipped(phase, axes), flipped(magnitude, axes)) == ""


@fault("all phase images mirrored, the magnitudes not", "refused: file and axis", 65)
@pytest.mark.parametrize("axes", AXES)
def test_mirrored_phase_is_refused(head, axes):
    phase, magnitude = head
    with pytest.raises(DataError, match=r"echo-1_part-phase.nii does not lie on echo-1_part-mag"):
        check(flipped(phase, axes), magnitude)


@fault("the magnitude of one echo mirrored", "refused: file and axis", 65)
def test_a_mirrored_magnitude_is_refused_by_name(head):
    phase, magnitude = head
    magnitude = magnitude.copy()
    magnitude[1] = magnitude[1, ::-1].copy()
    with pytest.raises(DataError, match=r"echo-2_part-mag.nii .*mirrored \(voxel axis 1\)"):
        check(phase, magnitude)


@pytest.mark.parametrize("outside", [0.0, np.nan])
def test_phase_cut_to_the_head_passes(head, outside):
    """Constant phase around the head is smooth where there is no signal."""
    phase, magnitude = head
    cut = np.where(magnitude > 0.2 * magnitude.max(), phase, np.float32(outside))
    assert refusal(cut, magnitude) == ""


def test_symmetric_objects_pass():
    """Noise alone tells nothing."""
    draw = np.random.default_rng(0)
    x = np.linspace(-1, 1, 40)
    ball = (x[:, None, None] ** 2 + x[:, None] ** 2 + x**2 < 0.7).astype(np.float32)
    signal = ball + 0.02 * (draw.normal(size=ball.shape) + 1j * draw.normal(size=ball.shape))
    phase, magnitude = (part[None].repeat(3, 0).astype(np.float32)
                        for part in (np.angle(signal), np.abs(signal)))  # fmt: skip
    assert refusal(phase, magnitude) == ""
    assert refusal(phase[:, ::-1], magnitude) == ""


def test_correlation_changes_sign_with_a_mirror(head):
    """``corr(flip a, b) = -corr(a, b)`` of the antisymmetric parts, exactly."""
    image, other = head[1][:2]
    seen = np.ones(image.shape, bool)
    for axes in AXES:
        sound = antisymmetric_correlation(image, other, seen, axes)
        assert sound > 0.5
        mirrored = antisymmetric_correlation(np.flip(image, axes), other, seen, axes)
        assert mirrored == pytest.approx(-sound, abs=1e-5)


def test_smoothness_of_wrapped_ramps_is_one():
    ramp = np.angle(np.exp(1j * np.linspace(0, 30, 24))).astype(np.float32)
    smooth = smoothness(np.broadcast_to(ramp, (8, 9, 24)).copy())
    assert smooth[1:-1, 1:-1, 1:-1] == pytest.approx(1, abs=1e-5)
