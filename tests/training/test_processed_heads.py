"""Heads behind background removal: truth, field and stated noise belong together."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from isdu_bids.errors import UsageError
from isdu_bids.physics.dipole import forward_field
from isdu_bids.simulation.demo_head import demo_head
from isdu_bids.simulation.processed_heads import ProcessedHeadSettings, process_head
from isdu_bids.simulation.random_fields import derived_generator
from isdu_bids.training.processed_set import ProcessedPatches, processed_files
from isdu_bids.training.tasks import parse_task

COARSE = ProcessedHeadSettings(voxel_size_mm=(4.0, 4.0), max_tilt_deg=5.0)


@pytest.fixture(scope="module")
def labels():
    return demo_head((160, 192, 176), (1.0, 1.0, 1.0), derived_generator(2))


@pytest.fixture(scope="module")
def head(labels):
    return process_head(labels, derived_generator(3), COARSE)


def test_the_local_field_is_that_of_the_susceptibility_and_errors_of_the_stated_size(head):
    inside = head.mask > 0
    own = forward_field(head.chi_ppm, head.voxel_size_mm, head.b0_direction)
    error, field = (head.field_ppm - own)[inside], head.field_ppm[inside]
    assert torch.corrcoef(torch.stack([own[inside], field]))[0, 1] > 0.7
    stated = head.field_sd_ppm[inside].square().mean().sqrt()
    assert 0.4 < error.std() / stated < 2.5  # rim sources and the drawn misjudgement come on top


def test_volumes_are_zero_outside_and_truth_is_demeaned(head):
    inside = head.mask > 0
    for volume in (head.field_ppm, head.field_sd_ppm, head.chi_ppm):
        assert (volume[~inside] == 0).all()
    assert abs(head.chi_ppm[inside].mean()) < 1e-6
    assert (head.field_sd_ppm[inside] > 0).all()


def test_patches_are_made_once_and_keep_their_physics(labels, tmp_path):
    files = processed_files([labels], tmp_path, 2, seed=1, settings=COARSE)
    times = [file.stat().st_mtime_ns for file in files]
    assert len(set(files)) == 2
    assert processed_files([labels], tmp_path, 2, seed=1, settings=COARSE) == files
    assert [file.stat().st_mtime_ns for file in files] == times
    first, again = (ProcessedPatches(files, 24, 2)(0, derived_generator(5)) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        assert one.field_ppm.shape == (1, 24, 24, 24)
        assert torch.equal(one.chi_ppm, other.chi_ppm)
        assert one.kernel.shape == (24, 24, 13)
        assert (one.field_sd_ppm[one.mask > 0] > 0).all()


def test_several_processes_simulate_the_same_heads(labels, tmp_path):
    alone, together = (
        processed_files([labels], tmp_path / str(n), 2, seed=1, settings=COARSE, workers=n)
        for n in (0, 2)
    )
    for first, second in zip(alone, together, strict=True):
        assert first.name == second.name
        volumes = load_file(second)
        for name, volume in load_file(first).items():  # other threads, other last bits
            assert torch.allclose(volume, volumes[name], atol=1e-4), name


def test_noise_must_be_told():
    with pytest.raises(UsageError, match="noise_level_ppm"):
        parse_task({"processed_fraction": 0.3}, "recipe")
