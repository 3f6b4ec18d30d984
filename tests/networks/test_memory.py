from __future__ import annotations

import logging

import pytest
import torch
from faults import fault

from isdu_bids.networks.boxes import Boxes
from isdu_bids.networks.inference import thinner_until_it_fits
from isdu_bids.physics.device import run_on


def small_gpu(boxes: Boxes) -> torch.Tensor:
    """Has no room for boxes of more than 16 planes; returns how many it computed."""
    if boxes.planes > 16:
        raise torch.cuda.OutOfMemoryError
    return torch.tensor(boxes.planes)


@fault("memory of a GPU does not suffice", "smaller boxes, the same map; told in the sidecar", 0)
def test_a_small_gpu_gets_thinner_boxes(caplog):
    """That the map does not depend on the boxes is shown in test_boxes.py."""
    with caplog.at_level(logging.WARNING):
        planes, told = run_on("cpu", lambda _: thinner_until_it_fits(small_gpu, Boxes(planes=64)))
    assert planes == 16
    assert told == "cpu, in boxes of 16 planes for lack of memory"
    assert [record.args for record in caplog.records] == [(32,), (16,)]


def test_a_gpu_too_small_for_the_thinnest_box_leaves_it_to_the_cpu():
    def no_memory(boxes: Boxes) -> torch.Tensor:
        raise torch.cuda.OutOfMemoryError

    with pytest.raises(torch.cuda.OutOfMemoryError):
        thinner_until_it_fits(no_memory, Boxes(planes=64))


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
