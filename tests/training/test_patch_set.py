from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from isdu_bids.errors import UsageError
from isdu_bids.physics.dipole import forward_field
from isdu_bids.simulation.demo_head import demo_head
from isdu_bids.training.patch_set import PatchSet, PatchSetSettings
from isdu_bids.training.patch_source import EpochsOfPatches

SETTINGS = PatchSetSettings(
    size=16, strides=(8, 12, 16), scans_per_head=2, max_noise_ppm=0, max_background_ppm=0
)


@pytest.fixture(scope="module")
def head() -> torch.Tensor:
    return demo_head((56, 68, 62), (3.0, 3.0, 3.0), torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("scans")


@pytest.fixture(scope="module")
def patches(head, folder) -> PatchSet:
    return PatchSet(SETTINGS, [head], folder, seed=0)


def test_patches_are_cut_from_the_scans_at_their_places(patches, folder):
    """Neighbours overlap: what they share is the same, voxel by voxel."""
    x, y, z = patches.scans[0].shape
    per_scan = len(range(0, x - 15, 8)) * len(range(0, y - 15, 12)) * len(range(0, z - 15, 16))
    assert len(patches) == 2 * per_scan
    places = [start for _, start in patches.places[:per_scan]]
    first, right = (places.index(start) for start in ((8, 12, 16), (16, 12, 16)))
    assert torch.equal(patches[first].field_ppm[:, 8:], patches[right].field_ppm[:, :8])
    assert len(list(folder.glob("*.safetensors"))) == 2


def test_scans_of_a_head_share_its_susceptibility_and_differ_in_b0(patches):
    half = len(patches) // 2
    assert patches.scans[0].b0_direction == (0, 0, 1)
    assert 0.7 < patches.scans[1].b0_direction[2] < 1
    middle = half // 2
    assert torch.equal(patches[middle].chi_ppm, patches[middle + half].chi_ppm)
    assert not torch.equal(patches[middle].field_ppm, patches[middle + half].field_ppm)
    assert not torch.equal(patches[middle].kernel, patches[middle + half].kernel)


def test_the_field_is_that_of_the_whole_head(patches):
    """Without noise the field is the head's, which a patch alone does not explain."""
    scan = patches.scans[1]
    chi, field, mask = (scan.archive.get_tensor(n) for n in ("chi_ppm", "field_ppm", "mask"))
    own = forward_field(chi, scan.voxel_size_mm, scan.b0_direction)
    assert torch.allclose(own * mask, field, atol=1e-6)


def test_scans_are_read_again_and_belong_to_their_settings(patches, head, folder):
    stamps = {path: path.stat().st_mtime_ns for path in folder.glob("*")}
    again = PatchSet(replace(SETTINGS, strides=(8, 8, 8)), [head], folder, seed=0)
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*")} == stamps
    assert torch.equal(again.scans[0].kernel, patches.scans[0].kernel)
    noisy = PatchSet(replace(SETTINGS, max_noise_ppm=0.01), [head], folder, seed=0)
    assert len(list(folder.glob("*.safetensors"))) == 4
    assert torch.equal(noisy[3].chi_ppm, patches[3].chi_ppm)


def test_scans_are_reproduced_to_the_bit(patches, head, tmp_path):
    again = PatchSet(SETTINGS, [head], tmp_path, seed=0)
    other = PatchSet(SETTINGS, [head], tmp_path, seed=1)
    middle = len(patches) // 4
    assert torch.equal(patches[middle].field_ppm, again[middle].field_ppm)
    assert not torch.equal(patches[middle].field_ppm, other[middle].field_ppm)


def test_a_subset_has_no_patch_twice_and_changes_from_epoch_to_epoch():
    epochs = EpochsOfPatches(list(range(50)), 2, 10, seed=3)
    drawn = [[i for step in range(10 * e, 10 * e + 10) for i in epochs.indices(step)]
             for e in range(40)]  # fmt: skip
    assert all(len(set(epoch)) == 20 for epoch in drawn)
    assert len({tuple(epoch) for epoch in drawn}) == 40
    # independent epochs: a patch is in 40 % of them
    counts = Counter(index for epoch in drawn for index in epoch)
    assert len(counts) == 50
    assert 4 <= min(counts.values()) <= max(counts.values()) <= 28
    # two epochs share 20 * 20 / 50 = 8 patches on average
    shared = [len(set(a) & set(b)) for a, b in pairwise(drawn)]
    assert sum(shared) / len(shared) == pytest.approx(8, abs=1)


def test_a_full_epoch_visits_every_patch_once():
    epochs = EpochsOfPatches(list(range(21)), 2, 0, seed=0)
    drawn = [index for step in range(10) for index in epochs.indices(step)]
    assert len(drawn) == len(set(drawn)) == 20  # one patch does not fill a batch
    assert drawn != [index for step in range(10, 20) for index in epochs.indices(step)]


def test_a_subset_cannot_exceed_the_set():
    with pytest.raises(UsageError, match="subset_batches = 11"):
        EpochsOfPatches(list(range(20)), 2, 11, seed=0)
    with pytest.raises(UsageError, match="strides"):
        PatchSetSettings(strides=(0, 1, 1))
