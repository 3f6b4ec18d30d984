"""Samples that other processes make: before they are asked for, or many at a time."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, Generic, TypeVar

import torch

Sample = TypeVar("Sample")


class MadeAhead(Generic[Sample]):
    """A function of 0, 1, 2, ..., whose next values processes of their own work out meanwhile.

    Parameters
    ----------
    make
        The function. It is sent to every process once, with all that it holds.
    n_workers
        Processes, each on one thread.
    """

    def __init__(self, make: Callable[[int], Sample], n_workers: int) -> None:
        self.n_ahead = 2 * n_workers
        self.coming: dict[int, Future[bytes]] = {}
        self.workers = _workers(make, n_workers)

    def __call__(self, number: int) -> Sample:
        """Value at a number; waits for it only where the processes do not keep up."""
        wanted = range(number, number + self.n_ahead)
        self.coming = {
            n: self.coming.get(n) or self.workers.submit(_pickled_value, n) for n in wanted
        }
        sample: Sample = pickle.loads(self.coming[number].result())
        return sample


def made_side_by_side(
    make: Callable[[int], Sample], numbers: Iterable[int], n_workers: int
) -> Iterator[Sample]:
    """Values of a function at numbers, in their order, worked out by so many processes; 0: here."""
    if not n_workers:
        yield from map(make, numbers)
        return
    with _workers(make, n_workers) as workers:
        yield from map(pickle.loads, workers.map(_pickled_value, numbers))


def _workers(make: Callable[[int], Any], n_workers: int) -> ProcessPoolExecutor:
    # a process forked while CUDA or OpenMP is in use would hang
    return ProcessPoolExecutor(n_workers, get_context("spawn"), _get_ready, (make,))


_make: Callable[[int], Any]


def _get_ready(make: Callable[[int], Any]) -> None:
    global _make
    _make = make
    torch.set_num_threads(1)


def _pickled_value(number: int) -> bytes:
    # as bytes, because torch sends tensors through /dev/shm, of which containers have 64 MB
    return pickle.dumps(_make(number))
