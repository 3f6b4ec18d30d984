from __future__ import annotations

import pytest
from nipype.interfaces.utility import Function
from nipype.pipeline import engine as pe

from isdu_bids.workflows.plugin import ResilientMultiProc


def kill_own_process() -> None:
    import os
    import signal

    os.kill(os.getpid(), signal.SIGKILL)


def write_file() -> str:
    from pathlib import Path

    path = Path("written.txt").absolute()
    path.write_text("done")
    return str(path)


@pytest.mark.timeout(120)
def test_a_killed_worker_fails_its_step_and_the_rest_goes_on(tmp_path, monkeypatch):
    """As the kernel does when memory runs out; Nipype's own plugin would wait for ever."""
    monkeypatch.chdir(tmp_path)
    workflow = pe.Workflow("wf", base_dir=str(tmp_path))
    killed = pe.Node(Function(function=kill_own_process, output_names=[]), name="killed")
    first = pe.Node(Function(function=write_file, output_names=["out"]), name="first")
    workflow.add_nodes([killed, first])
    workflow.config["execution"] = {
        "crashdump_dir": str(tmp_path),
        "crashfile_format": "txt",
        "poll_sleep_duration": "0.1",
    }
    plugin = ResilientMultiProc(
        plugin_args={"n_procs": 1, "memory_gb": 2, "n_gpu_procs": 1, "mp_context": "forkserver"}
    )
    with pytest.raises(RuntimeError):
        workflow.run(plugin=plugin)
    crash = "".join(path.read_text() for path in tmp_path.glob("crash-*.txt"))
    assert "memory ran out" in crash
    # one process, so the other step was not in flight: it ran before, or in the renewed pool
    assert (tmp_path / "wf" / "first" / "written.txt").exists()
