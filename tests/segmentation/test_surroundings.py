"""The small network looks again at the surroundings of the deep nuclei."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from isdu_bids.images import load_labels
from isdu_bids.segmentation.labels import DEEP_NUCLEI, SYNTHSEG_LABELS
from isdu_bids.segmentation.region_net import (
    TO_CENTRE,
    WINDOW,
    RegionNet,
    fold,
    surroundings,
)
from isdu_bids.segmentation.segment import segment
from isdu_bids.simulation.susceptibility import brain_mask

THALAMUS, CORTEX = SYNTHSEG_LABELS.index(10), SYNTHSEG_LABELS.index(3)


class Bright(RegionNet):
    """Thalamus where it is bright, cortex where it is dim, background elsewhere."""

    def folded_logits(self, image: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros(1, len(self.labels), *image.shape[2:])
        logits[:, THALAMUS] = 20 * (image[:, 0] > 0.8)
        logits[:, CORTEX] = 20 * ((image[:, 0] > 0.3) & (image[:, 0] < 0.6))
        logits[:, 0] = 5.0
        return fold(logits)


@pytest.fixture(scope="module")
def network():
    return Bright(SYNTHSEG_LABELS, (4, 8)).eval()


def head() -> np.ndarray:
    """Thalamus, cortex nearby, and a larger piece of air that looks like cortex far off."""
    image = np.zeros((320, 96, 64), np.float32)
    image[193:223, 30:60, 20:36] = 1  # more than the half percent that is clipped
    image[180:193, 40:50, 20:30] = 0.5
    image[10:40, 40:60, 20:40] = 0.5
    return image


def test_box_holds_the_nuclei_and_fits_the_image(network):
    x, y, z = surroundings(network, torch.from_numpy(head())[None, None])
    assert x.stop - x.start == WINDOW[0]
    assert abs((x.start + x.stop) / 2 - 207.5) <= 2
    assert (y, z) == (slice(0, 96), slice(0, 64))


def test_without_nuclei_the_whole_image_counts(network):
    image = torch.full((1, 1, 192, 32, 32), 0.5)
    assert surroundings(network, image) == (slice(0, 192), slice(0, 32), slice(0, 32))


@pytest.mark.parametrize("number", [13, 14, 15, 16])
def test_brains_fit_the_box(number):
    """Of held-out heads, fluid left out, which reaches down the spine."""
    data = os.environ.get("ISDU_BIDS_TEST_DATA")
    file = Path(data or "") / "synthseg_label_maps" / f"training_seg_{number}.nii.gz"
    if not file.exists():
        pytest.skip("ISDU_BIDS_TEST_DATA has no label maps")
    labels = torch.from_numpy(load_labels(file))
    middle = torch.isin(labels, torch.tensor(DEEP_NUCLEI)).nonzero().float().median(0)[0]
    brain = (brain_mask(labels) & (labels != 24)).nonzero()
    centre = middle + torch.tensor(TO_CENTRE)
    room = torch.tensor(WINDOW) / 2
    assert (brain.amin(0) > centre - room).all()
    assert (brain.amax(0) < centre + room).all()


@pytest.mark.parametrize("reverse", [False, True])
def test_what_is_far_from_the_nuclei_is_background(network, reverse):
    image, affine = head(), np.eye(4)
    if reverse:  # the same head, stored from right to left
        image, affine = image[::-1], np.diag([-1.0, 1.0, 1.0, 1.0])
    result = segment(image, affine, network=network, flip=False)
    labels = result.labels[::-1] if reverse else result.labels
    assert (labels[196:220, 33:57, 23:33] == 10).all()
    assert (labels[182:188, 42:48, 22:28] == 3).all()
    assert not labels[:100].any()
    inside = result.intracranial[::-1] if reverse else result.intracranial
    assert not inside[:100].any()
