"""What each scheduler calls things: one row of words; no code depends on which one it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a task asks the scheduler for.

    Attributes
    ----------
    cpus, memory_mb, minutes, gpu
        Of one task; ``minutes`` is the time limit.
    grace_s
        How long before the time limit a task is told to stop.
    at_most
        Tasks that run at the same time; 0: as many as the scheduler likes.
    """

    cpus: int = 1
    memory_mb: int = 8000
    minutes: int = 240
    gpu: bool = False
    grace_s: int = 120
    at_most: int = 0


@dataclass(frozen=True, kw_only=True)
class Scheduler:
    """Words of a scheduler, with fields of a `Request` and others in braces.

    Attributes
    ----------
    submit
        Command that takes a script and prints the id of the job.
    job_id
        Pattern of the id in what it prints.
    after
        Option of it: start when another job has ended, whatever its exit code.
    directive
        What a line of the script starts with that the scheduler reads.
    job, array
        Such lines: of every job, and of an array of ``last`` tasks.
    gpu
        What fills in ``{gpu}``.
    fewest_tasks
        Of an array; a task without a line in the list does nothing.
    task_in_log
        What stands for the index of a task in the name of its log.
    task, job_number, cpus, memory_mb
        Where a task finds its index, its job, and what it was given, as the shell writes it; a
        field in braces where the scheduler does not tell.
    queue
        Command that lists the tasks of a job that wait or run.
    queue_line
        Pattern of a line of it, with groups ``job`` (its number), ``task`` (indices, like 3-5 or
        3,7) and ``state``.
    gone
        Pattern of its complaint about a job that has ended long ago.
    running, pending
        Patterns of states.
    accounting
        Command that prints ``job_task|state`` of tasks that have ended; empty: there is none.
    """

    submit: tuple[str, ...]
    job_id: str
    after: str
    directive: str
    job: tuple[str, ...]
    array: tuple[str, ...]
    gpu: str
    fewest_tasks: int = 1
    task_in_log: str
    task: str
    job_number: str
    cpus: str
    memory_mb: str
    queue: tuple[str, ...]
    queue_line: str
    gone: str
    running: str
    pending: str
    accounting: tuple[str, ...] = ()

    def directives(
        self, request: Request, *, name: str, log_dir: str, n_tasks: int = 0
    ) -> list[str]:
        """Lines that tell the scheduler what a job needs; of an array where there are tasks."""
        words = {
            **vars(request),
            "name": name,
            "log": f"{log_dir}/{self.task_in_log if n_tasks else name}.txt",
            "gpu": self.gpu if request.gpu else "",
            "seconds": 60 * request.minutes,
            "stop_s": max(60 * request.minutes - request.grace_s, 1),
            "memory_per_cpu_mb": -(-request.memory_mb // request.cpus),
            "last": max(n_tasks, self.fewest_tasks),
            "at_most": request.at_most or max(n_tasks, 1),
        }
        lines = (*self.job, *self.array) if n_tasks else self.job
        filled = (line.format(**words) for line in lines)
        return [f"{self.directive} {line}" for line in filled if line]

    def job_of(self, printed: str) -> str:
        """Id of a job from what its submission printed."""
        found = re.search(self.job_id, printed)
        return found[0] if found else printed.strip()


# fmt: off
SCHEDULERS: Mapping[str, Scheduler] = MappingProxyType({
    "slurm": Scheduler(
        submit=("sbatch", "--parsable"), job_id=r"\d+", after="--dependency=afterany:{job}",
        directive="#SBATCH",
        job=("--job-name={name}", "--cpus-per-task={cpus}", "--mem={memory_mb}M",
             "--time={minutes}", "--signal=B:TERM@{grace_s}", "--output={log}", "{gpu}"),
        array=("--array=1-{last}%{at_most}",),
        gpu="--gres=gpu:1",
        task_in_log="%a", task="$SLURM_ARRAY_TASK_ID", job_number="$SLURM_JOB_ID",
        cpus="$SLURM_CPUS_PER_TASK", memory_mb="$SLURM_MEM_PER_NODE",
        queue=("squeue", "--noheader", "--array", "--format=%i %T", "--jobs={job}"),
        queue_line=r"^(?P<job>\d+)_(?P<task>\d+) (?P<state>\w+)$",
        gone="Invalid job id",
        running="RUNNING|CONFIGURING|SUSPENDED|STOPPED", pending="PENDING|REQUEUED|REQUEUE_HOLD",
        accounting=("sacct", "--noheader", "--parsable2", "--allocations",
                    "--format=JobID,State", "--jobs={job}"),
    ),
    # PBS Professional and OpenPBS 20 or later; after the time limit they leave a task kill_delay
    # seconds to stop (10, unless the site says otherwise), so grace_s is of no use here.
    "pbs": Scheduler(
        submit=("qsub",), job_id=r"\S+", after="-W depend=afterany:{job}",
        directive="#PBS",
        job=("-N {name}", "-l select=1:ncpus={cpus}:mem={memory_mb}mb{gpu}",
             "-l walltime={seconds}", "-j oe", "-o {log}"),
        array=("-J 1-{last}%{at_most}",),
        gpu=":ngpus=1", fewest_tasks=2,
        task_in_log="^array_index^", task="$PBS_ARRAY_INDEX", job_number="$PBS_JOBID",
        cpus="$NCPUS", memory_mb="{memory_mb}",
        queue=("qstat", "-t", "{job}"),
        queue_line=r"^(?P<job>\d+)\[(?P<task>\d+)\]\S*\s.*\s(?P<state>[A-Z])\s+\S+\s*$",
        gone="Unknown Job|has finished",
        running="R|E|S|U", pending="Q|H|W|T",
    ),
    # Gridware, Son of Grid Engine and their kin; memory is booked, not enforced: torch reserves
    # much more address space (h_vmem) than it uses.
    "sge": Scheduler(
        submit=("qsub", "-terse"), job_id=r"\d+", after="-hold_jid {job}",
        directive="#$",
        job=("-N {name}", "-S /bin/bash", "-pe smp {cpus}", "-l mem_free={memory_per_cpu_mb}M",
             "-l h_rt={seconds},s_rt={stop_s}", "-j y", "-o {log}", "{gpu}"),
        array=("-t 1-{last}", "-tc {at_most}"),
        gpu="-l gpu=1",
        task_in_log="$TASK_ID", task="$SGE_TASK_ID", job_number="$JOB_ID",
        cpus="$NSLOTS", memory_mb="{memory_mb}",
        queue=("qstat", "-u", "*"),
        queue_line=r"^\s*(?P<job>\d+)\s+\S+\s+\S+\s+\S+\s+(?P<state>\S+)\s.*"
                   r"\s\d+\s+(?P<task>[\d,:-]+)\s*$",
        gone="does not exist",
        running=".*[rtsST]", pending=".*[wE].*",
    ),
})
# fmt: on
