from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isdu_bids.physics.padding import fast_shape, mask_box, pad_to


@given(st.tuples(*[st.integers(1, 300)] * 3))
def test_fast_shape_is_even_and_holds_the_volume(shape):
    fast = fast_shape(shape)
    assert all(n % 2 == 0 and n >= m for n, m in zip(fast, shape, strict=True))


def test_mask_box_with_margin_is_clipped():
    mask = torch.zeros(10, 12, 14)
    mask[2:5, 0:3, 13] = 1
    assert mask_box(mask, (1, 1, 1)) == (slice(1, 6), slice(0, 4), slice(12, 14))
    assert mask_box(torch.zeros(3, 4, 5)) == (slice(0, 3), slice(0, 4), slice(0, 5))


def test_pad_to_is_undone_by_cropping(generator):
    volume = torch.randn(3, 5, 7, generator=generator)
    padded = pad_to(volume, (6, 6, 8))
    assert torch.equal(padded[:3, :5, :7], volume)
    assert padded.abs().sum() == volume.abs().sum()
    with pytest.raises(ValueError, match="smaller"):
        pad_to(volume, (2, 6, 8))
