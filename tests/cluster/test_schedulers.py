from __future__ import annotations

import pytest

from isdu_bids.cluster.queue import read_queue
from isdu_bids.cluster.schedulers import SCHEDULERS, Request

REQUEST = Request(cpus=4, memory_mb=8000, minutes=90, gpu=True, grace_s=300, at_most=10)
DIRECTIVES = {
    "slurm": """\
#SBATCH --job-name=isdu-bids
#SBATCH --cpus-per-task=4
#SBATCH --mem=8000M
#SBATCH --time=90
#SBATCH --signal=B:TERM@300
#SBATCH --output=/log/%a.txt
#SBATCH --gres=gpu:1
#SBATCH --array=1-20%10""",
    "pbs": """\
#PBS -N isdu-bids
#PBS -l select=1:ncpus=4:mem=8000mb:ngpus=1
#PBS -l walltime=5400
#PBS -j oe
#PBS -o /log/^array_index^.txt
#PBS -J 1-20%10""",
    "sge": """\
#$ -N isdu-bids
#$ -S /bin/bash
#$ -pe smp 4
#$ -l mem_free=2000M
#$ -l h_rt=5400,s_rt=5100
#$ -j y
#$ -o /log/$TASK_ID.txt
#$ -l gpu=1
#$ -t 1-20
#$ -tc 10""",
}
QUEUES = {
    "slurm": ("12", "12_1 RUNNING\n12_2 COMPLETING\n12_3 PENDING\n12_4 PENDING\n"),
    "pbs": (
        "12[].server",
        "Job id            Name             User              Time Use S Queue\n"
        "----------------  ---------------- ----------------  -------- - -----\n"
        "12[].server       isdu-bids        somebody                 0 B workq\n"
        "12[1].server      isdu-bids        somebody          00:00:03 R workq\n"
        "12[2].server      isdu-bids        somebody          00:00:01 X workq\n"
        "12[3].server      isdu-bids        somebody                 0 Q workq\n"
        "12[4].server      isdu-bids        somebody                 0 H workq\n",
    ),
    "sge": (
        "12",
        "job-ID  prior   name       user         state submit/start at     queue    slots ja\n"
        "-------------------------------------------------------------------------------\n"
        "     11 0.55500 isdu-bids  somebody     r     11/26/2026 01:30:00 main.q@host  1 2\n"
        "     12 0.55500 isdu-bids  somebody     r     11/26/2026 01:30:00 main.q@host  1 1\n"
        "     12 0.00000 isdu-bids  somebody     qw    11/26/2026 01:30:00              1 3,4\n"
        "     13 0.00000 isdu-bids  somebody     hqw   11/26/2026 01:30:00              1\n",
    ),
}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_directives_say_everything_that_was_asked_for(name):
    lines = SCHEDULERS[name].directives(REQUEST, name="isdu-bids", log_dir="/log", n_tasks=20)
    assert "\n".join(lines) == DIRECTIVES[name]


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_single_job_is_no_array_and_logs_under_its_name(name):
    lines = SCHEDULERS[name].directives(Request(), name="last", log_dir="/log")
    text = "\n".join(lines)
    assert "/log/last.txt" in text
    assert "gpu" not in text
    assert not any(word in text for word in (" --array", " -J ", " -t "))


def test_pbs_has_no_array_of_a_single_task():
    lines = SCHEDULERS["pbs"].directives(Request(), name="x", log_dir="/log", n_tasks=1)
    assert lines[-1] == "#PBS -J 1-2%1"


@pytest.mark.parametrize("name", SCHEDULERS)
def test_queue_tells_what_runs_and_waits(name):
    job, text = QUEUES[name]
    tasks = read_queue(SCHEDULERS[name], job, text)
    assert tasks == {1: "running", 3: "pending", 4: "pending"}


def test_ranges_of_waiting_tasks():
    line = "   12 0.0 isdu-bids me qw 11/26/2026 01:30:00    1 2-9:1\n"
    assert list(read_queue(SCHEDULERS["sge"], "12", line)) == list(range(2, 10))


@pytest.mark.parametrize(
    ("name", "printed", "job"),
    [
        ("slurm", "12;cluster\n", "12"),
        ("pbs", "12[].server\n", "12[].server"),
        ("sge", "12.1-8:1\n", "12"),
    ],
)
def test_id_of_a_job(name, printed, job):
    assert SCHEDULERS[name].job_of(printed) == job
