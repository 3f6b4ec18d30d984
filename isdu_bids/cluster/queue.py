"""What the scheduler says of the tasks of a job."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence

from isdu_bids.cluster.schedulers import Scheduler

RUNNING, PENDING = "running", "pending"


def queued_tasks(words: Scheduler, job: str) -> dict[int, str] | None:
    """Ask for the tasks of a job that run or wait.

    Returns
    -------
    dict or None
        Index of the task -> `RUNNING` or `PENDING`; None where the scheduler cannot be asked.
    """
    answer = _ask(words.queue, job)
    if answer is None:
        return None
    if answer.returncode and not re.search(words.gone, answer.stderr + answer.stdout):
        return None
    return read_queue(words, job, answer.stdout)


def read_queue(words: Scheduler, job: str, text: str) -> dict[int, str]:
    """Read the scheduler's list of tasks; what has ended is left out."""
    tasks: dict[int, str] = {}
    for line in text.splitlines():
        found = re.search(words.queue_line, line)
        if not found or found["job"] != _number(job):
            continue
        for status, pattern in ((RUNNING, words.running), (PENDING, words.pending)):
            if re.fullmatch(pattern, found["state"]):
                tasks |= dict.fromkeys(_indices(found["task"]), status)
                break
    return tasks


def ended_tasks(words: Scheduler, job: str) -> Mapping[int, str]:
    """Ask how the tasks of a job ended; nothing where there is no accounting."""
    answer = _ask(words.accounting, job) if words.accounting else None
    return read_accounting(answer.stdout) if answer and answer.returncode == 0 else {}


def read_accounting(text: str) -> dict[int, str]:
    r"""Read ``job_task|state`` lines.

    Examples
    --------
    >>> read_accounting("7_1|COMPLETED\n7_2|CANCELLED by 0\n7_[3-9]|PENDING\n")
    {1: 'COMPLETED', 2: 'CANCELLED'}
    """
    found = re.findall(r"^\d+_(\d+)\|(\w+)", text, re.MULTILINE)
    return {int(task): state for task, state in found}


def _ask(command: Sequence[str], job: str) -> subprocess.CompletedProcess[str] | None:
    words = [word.format(job=job) for word in command]
    try:
        return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None


def _number(job: str) -> str:
    found = re.match(r"\d+", job)
    return found[0] if found else job


def _indices(text: str) -> Iterator[int]:
    """Read indices like ``3``, ``3,7`` or ``3-8:1``."""
    for part in text.split(","):
        first, _, last = part.partition(":")[0].partition("-")
        yield from range(int(first), int(last or first) + 1)
