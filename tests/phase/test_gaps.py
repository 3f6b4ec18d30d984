"""What is missing inside a head is told."""

import numpy as np
import pytest
from faults import fault

from isdu_bids.phase.gaps import find_gaps
from isdu_bids.phase.magnitudes import seen_in_most


def gaps(phase_rad, magnitude):
    return find_gaps(phase_rad, magnitude, seen_in_most(magnitude))


@pytest.mark.parametrize("levels", [None, 4096, 256])
def test_a_sound_scan_has_no_gaps_whatever_numbers_store_it(scan, levels):
    phase, magnitude = scan.phase_rad, scan.magnitude
    if levels:
        phase = np.rint(phase * levels / (2 * np.pi))
        magnitude = np.rint(magnitude * levels / magnitude.max())
    assert gaps(phase, magnitude) == ()


def test_a_masked_scan_has_no_gaps(scan):
    assert gaps(scan.phase_rad * scan.mask, scan.magnitude * scan.mask) == ()


@fault("part of one echo is 0", "flagged", 0)
@pytest.mark.parametrize("part", ["phase_rad", "magnitude"])
@pytest.mark.parametrize("echo", [0, 2])
def test_zeros_in_one_echo_are_told(scan, part, echo):
    volumes = {"phase_rad": scan.phase_rad.copy(), "magnitude": scan.magnitude.copy()}
    volumes[part][echo, 15:20, 20:25, 15:20] = 0
    assert gaps(**volumes) == ("signal_missing",)


@fault("a few voxels of one echo's magnitude are 0", "flagged", 0)
def test_few_zeros_in_one_magnitude_are_told(scan):
    magnitude = scan.magnitude.copy()
    magnitude[1, 17:20, 20, 17] = 0
    assert gaps(scan.phase_rad, magnitude) == ("signal_missing",)


@fault("slice empty", "flagged as an error", 0)
@pytest.mark.parametrize("axis", [1, 2, 3])
def test_an_empty_slice_is_told(scan, axis):
    keep = np.arange(scan.magnitude.shape[axis]) != 17
    keep = np.expand_dims(keep, tuple(k for k in range(4) if k != axis))
    assert "slice_missing" in gaps(scan.phase_rad * keep, scan.magnitude * keep)


@fault("slice repeated in one echo", "flagged as an error", 0)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_repeated_slice_is_told(scan, axis):
    phase = scan.phase_rad.copy()
    slices = np.moveaxis(phase[1], axis, 0)
    slices[17] = slices[16]
    assert gaps(phase, scan.magnitude) == ("slice_repeated",)
