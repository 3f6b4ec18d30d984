"""The line that a user reads of a crash file."""

from __future__ import annotations

import pytest
from faults import fault

from isdu_bids.workflows.crashes import last_error

TRACEBACK = 'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    raise {}\n{}\n'


@fault("a step runs out of memory, or of space, with an error of Python's", "one line says it", 1)
@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("isdu_bids.errors.DataError: a.nii: no affine", "a.nii: no affine"),
        ("OSError: [Errno 28] No space left on device", "[Errno 28] No space left on device"),
        ("MemoryError", "memory ran out; lower --nprocs"),
        (
            "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 8 GiB for an array",
            "Unable to allocate 8 GiB",
        ),
        ("KeyError: 'TE'", "'TE'"),
        ("AssertionError", "AssertionError"),
    ],
)
def test_the_last_error_is_told(line, message):
    earlier = TRACEBACK.format("ValueError", "ValueError: first")
    assert last_error(earlier + TRACEBACK.format("MemoryError", line)).startswith(message)


def test_without_an_error_there_is_no_message():
    assert last_error("Node: wf.step") == "no message"
