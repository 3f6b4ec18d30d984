"""One line of progress: on a terminal it rewrites itself, in a log it is a plain line per step."""

from __future__ import annotations

import sys
import time
from typing import Any


class Progress:
    """Nipype status callback; picklable, because Nipype hands it to its workers."""

    def __init__(self, n_steps: int) -> None:
        self.n_steps = n_steps
        self.done = 0
        self.started_s = time.monotonic()
        self.interactive = sys.stderr.isatty()

    def __call__(self, node: Any, status: str) -> None:
        """Count a finished step; a failure is reported by its crash file."""
        if status == "start" or "._m" in node.fullname or node.name.startswith("_"):
            return
        self.done += 1
        elapsed_s = time.monotonic() - self.started_s
        scan, step = node.fullname.split(".")[-2:]
        mark = "FAILED" if status == "exception" else "done"
        line = f"[{self.done}/{self.n_steps}] {elapsed_s:6.0f} s  {scan}: {step} {mark}"
        end = "\x1b[K\r" if self.interactive and self.done < self.n_steps else "\n"
        print(line, end=end, file=sys.stderr, flush=True)
