from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from isdu_bids.cli.interruption import Terminated, terminable


def terminate_twice() -> None:
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        os.kill(os.getpid(), signal.SIGTERM)  # on the way out: ignored


def test_sigterm_ends_the_block_once(capfd):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated), terminable():
        terminate_twice()
    assert signal.getsignal(signal.SIGTERM) is before
    assert "the same command" in capfd.readouterr().err


def test_what_runs_before_the_environment_is_set_loads_nothing_that_reads_it():
    code = (
        "import sys, isdu_bids.cli.app, isdu_bids.cli.processing, isdu_bids.workflows.work_folder\n"
        "print({'torch', 'nipype', 'matplotlib', 'numba'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
