from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from properties import relative_difference

from isdu_bids.physics.dipole import convolve, dipole_kernel
from isdu_bids.physics.padding import fast_shape
from isdu_bids.physics.window import Window, in_voxels

ROOM = st.tuples(*[st.integers(0, 7)] * 3)


@given(st.tuples(*[st.integers(1, 14)] * 3), ROOM, ROOM, st.integers(0, 99))
def test_what_is_cut_comes_back_in_its_place(shape, after, before, seed):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(shape, generator=generator) > 0.8
    volume = torch.where(mask, torch.randn(shape, generator=generator), 0.0)
    window = Window.around(mask, after, before)
    there = window.cut(volume)
    assert torch.equal(window.put_back(there), volume)
    assert there.shape == fast_shape(window.shape) == window.shape
    assert there.count_nonzero() == volume.count_nonzero()
    for axis, part in enumerate(window.inner):
        assert part.start == before[axis]
        assert window.shape[axis] - part.stop >= after[axis]


def test_a_whole_window_is_the_volume(generator):
    volume = torch.randn((3, 5, 7), generator=generator)
    window = Window.whole(volume)
    assert torch.equal(window.cut(volume), volume)
    assert torch.equal(window.put_back(volume), volume)


def test_room_on_one_side_protects_both(generator):
    """By FFT, fields of sources at either face are those of a much larger grid."""
    mask = torch.zeros((30, 20, 20), dtype=torch.bool)
    mask[5:9, 8:12, 8:12] = True
    chi = torch.where(mask, torch.randn(mask.shape, generator=generator), 0.0)
    size, b0 = (1.0, 1.0, 2.0), (0.0, 0.6, 0.8)
    fields = []
    for length_mm in (0.0, 40.0, 160.0):
        window = Window.around(mask, in_voxels(length_mm, size))
        kernel = dipole_kernel(window.shape, size, b0)
        field = window.put_back(convolve(window.cut(chi), kernel))
        fields.append(field[mask] - field[mask].mean())
    without, some, much = fields
    assert relative_difference(some, much) < 0.02 < 0.1 < relative_difference(without, much)


def test_lengths_in_voxels():
    assert in_voxels(24.0, (1.0, 0.9, 2.0)) == [24, 27, 12]
