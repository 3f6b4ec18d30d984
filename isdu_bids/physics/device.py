"""Where a computation runs, and what happens when a GPU's memory does not suffice."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import ContextVar
from typing import TypeVar

import torch

from isdu_bids.errors import UsageError

logger = logging.getLogger(__name__)
Result = TypeVar("Result")
_REMARKS: ContextVar[list[str]] = ContextVar("remarks")


def resolve_device(name: str) -> torch.device:
    """Device by name; ``auto`` is the first GPU if there is one.

    Raises
    ------
    UsageError
        If a GPU is asked for that PyTorch does not see.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"--device {name}: PyTorch sees {torch.cuda.device_count()} GPUs; "
            "check the driver and the container's --gpus/--nv option, or use --device cpu"
        )
    return device


def cpu_has_bfloat16() -> bool:
    """Whether the processor has instructions for bfloat16.

    Without them oneDNN imitates convolutions of 16 bits, many times more slowly, or refuses them.
    """
    return torch.cpu._is_avx512_bf16_supported()


def remark(text: str) -> None:
    """Say what was done to fit into the memory of a device; `run_on` tells the last remark."""
    _REMARKS.get([]).append(text)


def run_on(name: str, function: Callable[[torch.device], Result]) -> tuple[Result, str]:
    """Run on a device, and on the CPU where a GPU's memory does not suffice.

    Returns
    -------
    tuple
        The result, and in words the device that computed it, never silently another one, and what
        the function did to fit into its memory (`remark`).
    """
    device = resolve_device(name)
    remarks: list[str] = []
    before = _REMARKS.set(remarks)
    try:
        return function(device), ", ".join([str(device), *remarks[-1:]])
    except torch.cuda.OutOfMemoryError:
        torch.cuda.empty_cache()
        logger.warning("%s is out of memory; this step runs on the CPU", device)
        return function(torch.device("cpu")), f"cpu ({device} was out of memory)"
    finally:
        _REMARKS.reset(before)
