"""Scripts are tested by running them, with a stand-in for the app."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from isdu_bids.cluster.plan import list_text, plan_tasks
from isdu_bids.cluster.schedulers import SCHEDULERS, Request
from isdu_bids.cluster.scripts import Launch, array_script, group_script

STAND_IN = (sys.executable, str(Path(__file__).with_name("stand_in.py")))
NODE = {
    "slurm": {
        "SLURM_JOB_ID": "7",
        "SLURM_ARRAY_TASK_ID": "{}",
        "SLURM_CPUS_PER_TASK": "3",
        "SLURM_MEM_PER_NODE": "8000",
    },
    "pbs": {"PBS_JOBID": "7[1].server", "PBS_ARRAY_INDEX": "{}", "NCPUS": "3"},
    "sge": {"JOB_ID": "7", "SGE_TASK_ID": "{}", "NSLOTS": "3"},
}


class Bench:
    """Folder with a script, and what it needs."""

    def __init__(self, cohort, **scans):
        cohort.add(**scans)
        self.cohort, self.folder = cohort, cohort.folder / "submission"
        (self.folder / "state").mkdir(parents=True)
        tasks = plan_tasks(sorted(name.replace("_", "-", 1) for name in scans))
        (self.folder / "tasks.tsv").write_text(list_text(tasks))
        self.launch = Launch(
            bids_dir=cohort.bids_dir,
            output_dir=cohort.output_dir,
            current_dir=cohort.folder,
            app=STAND_IN,
            scratch="$SCRATCH",
        )

    def start(self, task: int = 1, scheduler: str = "slurm") -> subprocess.Popen[bytes]:
        script = self.folder / "array.sh"
        words = SCHEDULERS[scheduler]
        script.write_text(array_script(words, Request(cpus=3), self.launch, self.folder, 1))
        variables = {key: value.format(task) for key, value in NODE[scheduler].items()}
        scratch = self.cohort.folder / "scratch"
        return subprocess.Popen(
            ["bash", str(script)],
            env={**os.environ, **variables, "SCRATCH": str(scratch)},
            start_new_session=True,
        )

    def state(self, name: str) -> str:
        path = self.folder / "state" / name
        return path.read_text().strip() if path.exists() else ""

    @property
    def work_folders(self) -> list[str]:
        return sorted(p.name for p in (self.cohort.folder / "scratch").glob("*/*"))


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_task_runs_its_line_with_what_the_scheduler_gave(cohort, scheduler):
    bench = Bench(cohort, sub_01="ok", sub_02="ok")
    assert bench.start(2, scheduler).wait() == 0
    assert cohort.runs == ["sub-02"]
    words = (cohort.folder / "words.txt").read_text()
    assert words.strip().endswith("--nprocs 3 --mem 8000")
    assert (bench.state("2.exit"), bench.state("2.started")[:5]) == ("0", "job 7")


def test_work_folder_goes_with_success_and_stays_after_failure(cohort):
    bench = Bench(cohort, sub_01="ok", sub_02="corrupt")
    assert (bench.start(1).wait(), bench.work_folders) == (0, [])
    assert (bench.start(2).wait(), bench.work_folders) == (1, ["sub-02"])
    assert bench.state("2.exit") == "1"


def test_an_index_without_a_line_does_nothing(cohort):
    bench = Bench(cohort, sub_01="ok")
    assert bench.start(2).wait() == 0
    assert cohort.runs == []


@pytest.mark.parametrize("to", ["shell", "all"])
@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGUSR2"])
def test_a_warning_of_the_scheduler_stops_the_app(cohort, wait_for, name, to):
    bench = Bench(cohort, sub_01="slow")
    process = bench.start()
    wait_for(lambda: cohort.runs, 30)
    send = os.kill if to == "shell" else os.killpg
    send(process.pid, getattr(signal, name))
    assert process.wait(timeout=30) == 128 + signal.SIGTERM
    assert bench.state("1.exit") == "143 stopped"


def test_a_second_start_forgets_the_first_exit_code(cohort, wait_for):
    bench = Bench(cohort, sub_01="corrupt")
    bench.start().wait()
    cohort.behave("sub-01", "slow")
    process = bench.start()
    wait_for(lambda: len(cohort.runs) == 2, 30)
    assert bench.state("1.exit") == ""
    process.terminate()
    process.wait(timeout=30)


def test_container_sees_input_read_only_output_and_work_folder(cohort, monkeypatch):
    bench = Bench(cohort, sub_01="ok")
    programs = cohort.folder / "programs"
    programs.mkdir()
    fake = programs / "apptainer"
    fake.write_text(
        f'#!/bin/bash\necho "$@" > {cohort.folder}/apptainer.txt\n'
        f'while [ "$1" != /x.sif ]; do shift; done; shift\nexec {" ".join(STAND_IN)} "$@"\n'
    )
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    bench.launch = replace(bench.launch, container="/x.sif", bind=("/weights",))
    assert bench.start().wait() == 0
    said = (cohort.folder / "apptainer.txt").read_text()
    work = next((cohort.folder / "scratch").iterdir()) / "sub-01"
    inside, outside = cohort.bids_dir, cohort.output_dir
    assert said.startswith(
        f"run --containall --cleanenv -B {inside}:{inside}:ro -B /weights:/weights:ro "
        f"-B {outside}:{outside} -B {work}:{work} /x.sif {inside} {outside} participant "
    )
    assert "--nv" in bench.launch.words(gpu=True)


def test_group_job_runs_the_group_level(cohort):
    bench = Bench(cohort, sub_01="ok")
    words = SCHEDULERS["slurm"]
    script = bench.folder / "group.sh"
    script.write_text(group_script(words, Request(gpu=True), bench.launch, bench.folder))
    environment = {**os.environ, "SCRATCH": str(cohort.folder)}
    assert subprocess.run(["bash", str(script)], env=environment).returncode == 0
    assert (cohort.folder / "groups.txt").exists()
    assert bench.state("group.exit") == "0"
    assert "gpu" not in script.read_text()


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_shellcheck_has_nothing_to_say(cohort, scheduler):
    bench = Bench(cohort, sub_01="ok")
    script = array_script(SCHEDULERS[scheduler], Request(), bench.launch, bench.folder, 3)
    checked = subprocess.run(
        ["shellcheck", "-"], input=script, capture_output=True, text=True, check=False
    )
    assert checked.stdout == ""
