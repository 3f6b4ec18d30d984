"""Patches that are seen several times, each time turned."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from isdu_bids.networks.unrolled import Architecture
from isdu_bids.simulation.demo_head import demo_head
from isdu_bids.simulation.patches import Patch, PatchSettings, draw_patch
from isdu_bids.training.dry_run import measure_cost
from isdu_bids.training.inversion import Inversion
from isdu_bids.training.patch_source import NumberedBatches, ReusedPatches
from isdu_bids.training.trainer import STATE_FILE, train

TASK = Inversion(
    architecture=Architecture(iterations=1, depth=4, features=2),
    patches=PatchSettings(size=8),
    steps=20,
    decay_steps=4,
    warmup_steps=1,
    save_every=10,
    n_validation=1,
    reuse=2,
)
PER_POOL = 3 * ReusedPatches.POOL


@pytest.fixture(scope="module")
def head() -> torch.Tensor:
    return demo_head((40, 46, 42), (4.0, 4.0, 4.0), torch.Generator().manual_seed(0))


class Counting:
    """Makes batches of one patch, and counts them."""

    def __init__(self, head: torch.Tensor) -> None:
        self.head, self.n_made = head, 0

    def __call__(self, step: int, generator: torch.Generator) -> list[Patch]:
        self.n_made += 1
        return [draw_patch(self.head, generator, TASK.patches)]


def numbered(source: Counting, seed: int = 1) -> NumberedBatches[Patch]:
    return NumberedBatches(source, seed, process=0, device="cpu")


def test_each_patch_is_made_once_and_seen_in_different_turns(head):
    fresh, generator = Counting(head), torch.Generator().manual_seed(0)
    before = generator.get_state()
    source = ReusedPatches(numbered(fresh), 3, seed=1)
    patches = [source(step, generator)[0] for step in range(2 * PER_POOL)]
    assert fresh.n_made == 2 * ReusedPatches.POOL
    assert torch.equal(generator.get_state(), before)  # other random numbers stay what they were
    for pool in (patches[:PER_POOL], patches[PER_POOL:]):
        for member in range(ReusedPatches.POOL):
            turns = pool[member :: ReusedPatches.POOL]
            values = [patch.chi_ppm.flatten().sort().values for patch in turns]
            assert torch.equal(values[0], values[1])
            assert torch.equal(values[0], values[2])
            geometries = {(patch.b0_direction, patch.voxel_size_mm) for patch in turns}
            assert len(geometries) == 3
    assert not torch.equal(patches[0].mask, patches[PER_POOL].mask)


def test_what_a_step_sees_follows_from_seed_and_step(head):
    generator = torch.Generator().manual_seed(0)
    source = ReusedPatches(numbered(Counting(head)), 3, seed=1)
    going_on = [source(step, generator)[0] for step in range(PER_POOL)]
    for step in (1, 10, PER_POOL - 1):
        resumed = ReusedPatches(numbered(Counting(head)), 3, seed=1)(step, generator)[0]
        assert torch.equal(resumed.field_ppm, going_on[step].field_ppm)
    other = ReusedPatches(numbered(Counting(head), seed=2), 3, seed=2)(0, generator)[0]
    assert not torch.equal(other.field_ppm, going_on[0].field_ppm)


def test_patches_of_other_processes_are_those_drawn_in_between(head, tmp_path):
    generator = torch.Generator().manual_seed(0)
    here, there = (
        replace(TASK, workers=workers).training_batches([head], tmp_path, "cpu")
        for workers in (0, 2)
    )
    for step in (0, 1, 2, PER_POOL, 5):  # 5 goes back, as resuming may
        assert torch.equal(here(step, generator).field_ppm, there(step, generator).field_ppm)


def test_without_reuse_patches_are_drawn_as_ever(head, tmp_path):
    draw = replace(TASK, reuse=1).training_batches([head], tmp_path, "cpu")
    batch = draw(0, torch.Generator().manual_seed(5))
    generator = torch.Generator().manual_seed(5)
    torch.randint(1, (1,), generator=generator)  # picks the head
    assert torch.equal(batch.field_ppm[0], draw_patch(head, generator, TASK.patches).field_ppm)


def test_resuming_inside_a_pool_gives_the_same_weights_to_the_bit(head, tmp_path):
    train(TASK, [head], [head], tmp_path / "whole")
    train(replace(TASK, steps=10, decay_steps=0), [head], [head], tmp_path / "interrupted")
    train(TASK, [head], [head], tmp_path / "interrupted")
    whole, resumed = (
        torch.load(tmp_path / name / STATE_FILE, weights_only=True)["network"]
        for name in ("whole", "interrupted")
    )
    for name, tensor in whole.items():
        assert torch.equal(tensor, resumed[name]), name


def test_a_dry_run_counts_the_making_of_patches_once(head, tmp_path, monkeypatch):
    """One second a batch: half a second a step when each is seen twice."""
    clock = iter(range(0, 1000))
    monkeypatch.setattr("time.perf_counter", lambda: float(next(clock)))
    cost = measure_cost(TASK, [head], tmp_path)
    assert (cost.drawing_seconds_per_step, cost.seconds_per_step) == (0.5, 1.5)
