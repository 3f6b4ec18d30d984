"""Cleaning of posteriors."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.ndimage import label as components

from isdu_bids.segmentation.labels import SYNTHSEG_LABELS
from isdu_bids.segmentation.postprocess import (
    TOPOLOGICAL_CLASSES,
    averaged_with_mirrored,
    cleaned,
    largest_component,
    smoothed,
)

WHOLE = (slice(None),) * 3


@pytest.fixture
def posteriors(generator):
    """Blotchy posteriors: every label in many places."""
    noise = torch.randn((33, 24, 24, 24), generator=generator).numpy()
    blotches = gaussian_filter(noise, (0, 2, 2, 2))
    return torch.from_numpy(blotches / blotches.std() * 6).softmax(0)


def test_every_label_but_background_and_csf_is_in_one_class():
    members = [label for labels in TOPOLOGICAL_CLASSES for label in labels]
    assert len(TOPOLOGICAL_CLASSES) == 23
    assert sorted(members) == sorted(set(SYNTHSEG_LABELS) - {0, 24})


def test_one_piece_per_class(posteriors):
    result = cleaned(posteriors.clone(), SYNTHSEG_LABELS, WHOLE)
    pieces_before = []
    for members in TOPOLOGICAL_CLASSES:
        channels = [SYNTHSEG_LABELS.index(label) for label in members]
        pieces_before.append(components((posteriors[channels] > 0.25).any(0).numpy())[1])
        assert components((result[channels] > 0).any(0).numpy())[1] == min(1, pieces_before[-1])
    assert max(pieces_before) > 1


def test_posteriors_sum_to_one(posteriors):
    for topological in (True, False):
        result = cleaned(posteriors.clone(), SYNTHSEG_LABELS, WHOLE, topological=topological)
        torch.testing.assert_close(result.sum(0), torch.ones(24, 24, 24))


def test_small_posteriors_are_dropped_without_classes(posteriors):
    before = posteriors.clone()
    result = cleaned(posteriors, SYNTHSEG_LABELS, WHOLE, topological=False)
    assert not result[1:][before[1:] <= 0.2].any()
    assert result[1:][before[1:] > 0.2].any()


def test_only_the_largest_head_is_kept():
    posteriors = torch.zeros(2, 20, 8, 8)
    posteriors[1, 2:10, 2:6, 2:6] = 0.9
    posteriors[1, 15:18, 2:6, 2:6] = 0.9
    posteriors[0] = 1 - posteriors[1]
    for topological in (True, False):
        inner = (slice(1, 19), slice(0, 8), slice(0, 8))
        result = cleaned(posteriors.clone(), (0, 24), inner, topological=topological)
        assert result.shape == (2, 18, 8, 8)
        assert result[1, :10].sum() == pytest.approx(0.9 * 8 * 16)
        assert not result[1, 13:].any()
        assert (result[0, 13:] == 1).all()


def test_voxels_where_nothing_is_left_are_background():
    posteriors = torch.zeros(2, 8, 8, 8)
    posteriors[1, 1:4] = 1
    posteriors[1, 6] = 1
    result = cleaned(posteriors, (0, 16), WHOLE)
    assert (result[0, 6] == 1).all()
    assert torch.isfinite(result).all()


def test_smoothing_is_a_truncated_gaussian(posteriors):
    expected = gaussian_filter(
        posteriors.numpy(), sigma=0.5, radius=1, mode="constant", axes=(1, 2, 3)
    )
    np.testing.assert_allclose(smoothed(posteriors).numpy(), expected, atol=1e-6)


def test_average_exchanges_sides():
    labels = (0, 12, 51)
    left = torch.zeros(3, 4, 2, 2)
    left[1, 0] = 1
    seen_in_mirror = torch.zeros(3, 4, 2, 2)
    seen_in_mirror[2, 3] = 1
    expected = left.clone()
    torch.testing.assert_close(averaged_with_mirrored(left, seen_in_mirror, labels), expected)


def test_largest_component_connects_by_faces():
    mask = torch.zeros(5, 5, 5, dtype=torch.bool)
    mask[0, 0, :2] = True
    mask[1, 1, 1:] = True
    assert largest_component(mask).sum() == 4
    assert not largest_component(torch.zeros_like(mask)).any()
