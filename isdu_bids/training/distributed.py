"""One training run in several processes that ``torchrun`` starts, each with a GPU of its own.

Every process draws its own patches. Before each step, one message (`torch.distributed.all_reduce`)
averages the gradients and the running statistics of the batch norms, so that all take the same step
from the same weights. `torch.nn.parallel.DistributedDataParallel` would hide the message behind the
backward pass, which networks of a few MB do not need; but it keeps the statistics of one process,
sees only calls of ``forward``, and warns of weights whose channels come last.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist

from isdu_bids.errors import UsageError
from isdu_bids.physics.device import resolve_device

#: The longest that processes wait for another one, which may validate or simulate scans. The end
#: of a process is noticed at once; this is for one that hangs.
TIMEOUT = timedelta(hours=1)

Value = TypeVar("Value")


@contextmanager
def joined_processes(device: str) -> Iterator[str]:
    """Join the processes that ``torchrun`` started; without it, nothing happens.

    Parameters
    ----------
    device
        Name that the user gave; with ``cuda``, and ``auto`` where there are GPUs, each process of
        a machine takes the GPU of its number.

    Yields
    ------
    str
        Device of this process.

    Raises
    ------
    UsageError
        If there are fewer GPUs than processes, or one is named that all would share.
    """
    mine = resolve_device(device)
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield str(mine)
        return
    if mine.type == "cuda":
        if mine.index is not None:
            raise UsageError(f"--device {device} is one GPU for several processes; give cuda")
        mine = resolve_device(f"cuda:{dist.get_node_local_rank()}")
        torch.cuda.set_device(mine)
        dist.init_process_group("nccl", timeout=TIMEOUT, device_id=mine)
    else:
        dist.init_process_group("gloo", timeout=TIMEOUT)
    yield str(mine)
    # not after an error: this would wait for the others, which wait for us until torchrun ends them
    dist.destroy_process_group()


def n_processes() -> int:
    """Return how many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Return the number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def is_first() -> bool:
    """Whether this process is the one that validates, writes and reports."""
    return rank() == 0


def gathered(value: Value) -> list[Value]:
    """Values of all processes, by rank, in every process; all wait for the last."""
    values = [value] * n_processes()
    if len(values) > 1:
        dist.all_gather_object(values, value)
    return values


def average_over_processes(tensors: Iterable[torch.Tensor]) -> None:
    """Replace float32 tensors by their means over the processes, the same bits in all of them."""
    if n_processes() == 1:
        return
    tensors = list(tensors)
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    dist.all_reduce(flat)
    means = (flat / n_processes()).split([tensor.numel() for tensor in tensors])
    for tensor, mean in zip(tensors, means, strict=True):
        tensor.copy_(mean.view_as(tensor))
