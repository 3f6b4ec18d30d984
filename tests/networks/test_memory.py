from __future__ import annotations

import logging

import pytest
import torch
from faults import fault
from test_inference import AXIAL, scene, weights

from isdu_bids.networks import inference
from isdu_bids.networks.registry import ISDU
from isdu_bids.physics.device import run_on


@fault("memory of a GPU does not suffice", "smaller tiles, the same map; told in the sidecar", 0)
def test_a_small_gpu_gets_thinner_slabs(monkeypatch, caplog):
    """Out of memory until slabs are thin enough: the same map, and the log says so."""
    planes_tried = []
    run = inference._run

    def small_gpu(*volumes_and_slabs):
        planes_tried.append(volumes_and_slabs[-1].planes)
        if planes_tried[-1] > 16:
            raise torch.cuda.OutOfMemoryError
        return run(*volumes_and_slabs)

    field, mask = scene()
    expected = ISDU(field, mask, weights=weights(), **AXIAL)
    monkeypatch.setattr(inference, "_run", small_gpu)
    monkeypatch.setattr(inference, "_first_planes", lambda device: 64)
    with caplog.at_level(logging.WARNING):
        chi, told = run_on("cpu", lambda _: ISDU(field, mask, weights=weights(), **AXIAL))
    assert told == "cpu, in slabs of 16 planes for lack of memory"
    assert planes_tried == [64, 32, 16]
    assert "slabs of 16 planes" in caplog.text
    assert torch.allclose(chi, expected, atol=1e-7)


def test_a_gpu_too_small_for_the_thinnest_slab_leaves_it_to_the_cpu(monkeypatch):
    def no_memory(*arguments):
        raise torch.cuda.OutOfMemoryError

    field, mask = scene()
    monkeypatch.setattr(inference, "_run", no_memory)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        ISDU(field, mask, weights=weights(), **AXIAL)


@fault("memory of a GPU does not suffice for one tile", "runs on the CPU; told in the sidecar", 0)
def test_the_device_that_computed_is_told(monkeypatch):
    def needs_memory(device: torch.device) -> str:
        if device.type == "cuda":
            raise torch.cuda.OutOfMemoryError
        return device.type

    monkeypatch.setattr(
        "isdu_bids.physics.device.resolve_device", lambda name: torch.device("cuda")
    )
    result, told = run_on("cuda", needs_memory)
    assert result == "cpu"
    assert "out of memory" in told
