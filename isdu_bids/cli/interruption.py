"""SIGTERM, which Slurm, ``docker stop`` and ``kill`` send, ends a run as Ctrl-C does."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

#: What every interrupted run says.
GO_ON = "the same command with the same --work-dir goes on from here"
_STOPPED = f"isdu-bids: stopped by SIGTERM; {GO_ON}\n".encode()


class Terminated(KeyboardInterrupt):
    """The process was asked to end."""


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM raise `Terminated` in this block, once.

    The same signal often comes twice, from the scheduler and from a wrapper; the second one must
    not cut short what the first one started.
    """
    if threading.current_thread() is not threading.main_thread():  # where Python allows no handler
        yield
        return

    def stop(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)
        os.write(2, _STOPPED)  # at once, as the way out may be cut short; print is not reentrant
        raise Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
