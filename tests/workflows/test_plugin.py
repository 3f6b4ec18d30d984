from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from faults import fault
from nipype.interfaces.utility import Function
from nipype.pipeline import engine as pe

from isdu_bids.workflows.plugin import ResilientMultiProc


def kill_own_process(written: str) -> None:
    import os
    import signal
    import time
    from pathlib import Path

    while not Path(written).exists():  # the other step is at work
        time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGKILL)


def write_file(written: str, wait_s: float) -> str:
    import time
    from pathlib import Path

    Path(written).touch()
    time.sleep(wait_s)
    path = Path("written.txt").absolute()
    path.write_text("done")
    return str(path)


def step(function, **inputs) -> Function:
    interface = Function(function=function, output_names=["out"])
    interface.inputs.trait_set(**inputs)
    return interface


def workflow_in(folder: Path, **functions: Function) -> pe.Workflow:
    workflow = pe.Workflow("wf", base_dir=str(folder))
    workflow.add_nodes([pe.Node(function, name=name) for name, function in functions.items()])
    workflow.config["execution"] = {
        "crashdump_dir": str(folder),
        "crashfile_format": "txt",
        "poll_sleep_duration": "0.1",
    }
    return workflow


def plugin() -> ResilientMultiProc:
    return ResilientMultiProc(
        plugin_args={
            "n_procs": 2,
            "memory_gb": 2,
            "n_gpu_procs": 1,
            "mp_context": "forkserver",
            "raise_insufficient": False,
        }
    )


@fault(
    "a step is killed because memory ran out",
    "one scan fails with a message that says memory; steps beside it go on",
    exit_code=1,
)
@pytest.mark.timeout(300)
def test_a_killed_worker_fails_its_step_and_the_rest_goes_on(tmp_path, monkeypatch):
    """As the kernel does; Nipype's own plugin would wait for ever, and lose the other step."""
    monkeypatch.chdir(tmp_path)
    written = str(tmp_path / "at work")
    workflow = workflow_in(
        tmp_path,
        killed=step(kill_own_process, written=written),
        other=step(write_file, written=written, wait_s=2.0),
    )
    with pytest.raises(RuntimeError):
        workflow.run(plugin=plugin())
    crashes = [path.read_text() for path in tmp_path.glob("crash-*.txt")]
    assert len(crashes) == 1
    assert "memory ran out" in crashes[0]
    assert (tmp_path / "wf" / "other" / "written.txt").exists()


@fault("no worker can be started (ulimit -v, ulimit -u)", "the scan fails with the remedy", 1)
@pytest.mark.timeout(120)
def test_a_thread_that_cannot_start_fails_the_step_and_nothing_hangs(tmp_path, monkeypatch):
    def no_thread(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.chdir(tmp_path)
    function = step(write_file, written=str(tmp_path / "at work"), wait_s=0.0)
    workflow = workflow_in(tmp_path, step=function)
    monkeypatch.setattr(threading.Thread, "start", no_thread)
    with pytest.raises(RuntimeError, match="no worker process could be started"):
        workflow.run(plugin=plugin())


RUN = """
def note_process_and_wait(folder):
    import os, time
    from pathlib import Path
    time.sleep(0.5)
    Path(folder, f"worker-{os.getpid()}").touch()
    time.sleep(600)

if __name__ == "__main__":  # the workers need nothing of it
    import sys
    from nipype.interfaces.utility import Function
    from nipype.pipeline import engine as pe
    from isdu_bids.cli.interruption import Terminated, terminable
    from isdu_bids.settings import Resources
    from isdu_bids.workflows.run import run_workflow

    folder = sys.argv[1]
    workflow = pe.Workflow("wf", base_dir=folder)
    for name in ("first", "second"):
        function = Function(function=note_process_and_wait)
        function.inputs.folder = folder
        workflow.add_nodes([pe.Node(function, name=name)])
    try:
        with terminable():
            run_workflow(workflow, resources=Resources(n_procs=2, memory_gb=2))
    except Terminated:
        sys.exit(143)
"""


@fault(
    "SIGTERM (Slurm, docker stop)",
    "ends in seconds: report, message that the same command goes on, no process left",
    exit_code=143,
)
@pytest.mark.timeout(300)
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_no_worker_survives_its_run(tmp_path, how):
    script = tmp_path / "run.py"
    script.write_text(RUN)
    with subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)],
        cwd=tmp_path, stderr=subprocess.PIPE, text=True,
    ) as run:  # fmt: skip
        while len(workers := list(tmp_path.glob("worker-*"))) < 2:
            assert run.poll() is None
            time.sleep(0.1)
        run.send_signal(how)
        asked_s = time.monotonic()
        _, said = run.communicate(timeout=60)
    if how is signal.SIGTERM:
        assert run.returncode == 143
        assert "the same command with the same --work-dir goes on" in said
    pids = [int(path.name.removeprefix("worker-")) for path in workers]
    while any(map(is_alive, pids)):
        assert time.monotonic() - asked_s < 60
        time.sleep(0.1)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
