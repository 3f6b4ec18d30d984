"""A dataset whose subjects behave as told, and a Slurm of one node where its programs are."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from getpass import getuser
from math import nan
from pathlib import Path

import pytest
from skeleton import make_dataset

from isdu_bids.quality.record import ScanRecord, write_record

PROGRAMS = ("sbatch", "squeue", "scancel", "sinfo", "slurmctld", "slurmd", "munged")

SLURM_CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
SchedulerParameters=batch_sched_delay=0,bf_interval=1,sched_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
KillWait=5
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=4000 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES State=UP
"""


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    """Slurm on this machine, without cgroups and accounting; ``SLURM_CONF`` leads to it."""
    if not all(map(shutil.which, PROGRAMS)):
        pytest.skip("Slurm is not installed")
    folder = tmp_path_factory.mktemp("slurm")
    for part in ("state", "spool", "munge"):
        (folder / part).mkdir(mode=0o700)
    host = socket.gethostname().partition(".")[0]
    key = folder / "munge" / "key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o600)
    munge = {
        "key-file": key,
        "socket": folder / "munge.socket",
        "pid-file": folder / "munged.pid",
        "log-file": folder / "munged.log",
        "seed-file": folder / "munge" / "seed",
    }
    words = {"host": host, "user": getuser(), "folder": folder, "ports": (free_port(), free_port())}
    conf = folder / "slurm.conf"
    conf.write_text(SLURM_CONF.format(**words))
    (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n")
    daemons = (
        ["munged", "--force", *(f"--{name}={path}" for name, path in munge.items())],
        ["slurmctld", "-i", "-f", str(conf)],
        ["slurmd", "-f", str(conf), "-N", host],
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(conf))
        try:
            for daemon in daemons:
                subprocess.run(daemon, check=True, timeout=60)
            wait_until(lambda: said("sinfo", "-h", "-o", "%T") == "idle", 60)
            yield folder
        finally:
            subprocess.run(["scancel", "--user", getuser()], check=False, timeout=60)
            for name in ("slurmctld", "slurmd", "munged"):
                stop(folder / f"{name}.pid")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def stop(pid_file: Path) -> None:
    if pid_file.exists():
        os.kill(int(pid_file.read_text()), signal.SIGTERM)


@pytest.fixture
def wait_for():
    return wait_until


def wait_until(condition, limit_s: float) -> None:
    """Wait until a condition holds; the test fails if it never does."""
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, f"still waiting after {limit_s} s"
        time.sleep(0.2)


class Cohort:
    """Folders of a dataset of tiny scans, whose subjects do what is written in ``behaviour``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bids_dir, self.output_dir = folder / "bids", folder / "out"
        record = ScanRecord(
            name="x",
            echo_times_s=(0.004,),
            field_strength_t=3.0,
            shape=(4, 4, 4),
            voxel_size_mm=(1.0, 1.0, 1.0),
            b0_direction=(0.0, 0.0, 1.0),
            measures={"chi_sd_ppm": nan},
        )
        write_record(folder / "record.json", record)

    def add(self, **scans: str) -> None:
        """Add scans, by their names: ``sub_01_run_1="ok"``."""
        names = {
            key.replace("_", "-", 1).replace("_run_", "_run-"): what for key, what in scans.items()
        }
        make_dataset(self.bids_dir, {name: {} for name in names})
        for name, what in names.items():
            self.behave(name.partition("_")[0], what)

    def behave(self, subject: str, what: str) -> None:
        (self.bids_dir / subject / "behaviour").write_text(what)

    @property
    def runs(self) -> list[str]:
        """Scans in the order in which they were run."""
        path = self.folder / "runs.txt"
        return path.read_text().split() if path.exists() else []


@pytest.fixture
def cohort(tmp_path) -> Cohort:
    return Cohort(tmp_path)
