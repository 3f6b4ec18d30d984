"""All scans of a run as one Nipype workflow, and its execution."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml
from nipype.pipeline import engine as pe
from nipype.pipeline.engine.utils import generate_expanded_graph

from isdu_bids import __version__
from isdu_bids.bids.acquisition import Acquisition
from isdu_bids.bids.layout import log_folder
from isdu_bids.errors import UsageError
from isdu_bids.files import write_text
from isdu_bids.geometry import b0_direction, unit_vector
from isdu_bids.images import read_grid
from isdu_bids.settings import Resources, Settings
from isdu_bids.template.find import Template
from isdu_bids.workflows.contents import Contents
from isdu_bids.workflows.memory import estimate_memory
from isdu_bids.workflows.plugin import ResilientMultiProc
from isdu_bids.workflows.progress import Progress
from isdu_bids.workflows.scan import init_scan_wf


def init_run_wf(
    *,
    acquisitions: Sequence[Acquisition],
    settings: Settings,
    resources: Resources,
    output_dir: Path,
    work_dir: Path,
    run_uuid: str,
    contents: Contents,
    templates: Sequence[Template] = (),
    command: str = "",
    clashing: Collection[str] = (),
    stop_on_first_crash: bool = False,
) -> pe.Workflow:
    """Workflow of a run: one sub-workflow per scan, which do not depend on each other.

    Field maps are not written of the scans that are named as ``clashing``.
    """
    # intermediate results of another version are not reused
    name = f"isdu_bids_{__version__}_wf".replace(".", "_")
    workflow = pe.Workflow(name=name, base_dir=str(work_dir))
    execution = {
        "crashfile_format": "txt",
        "poll_sleep_duration": "0.1",  # Nipype's 2 s cost half a minute per chain of steps
        "create_report": "false",  # of what each step took and gave, in its folder
        "stop_on_first_crash": str(stop_on_first_crash).lower(),
    }
    workflow.config["execution"] = execution
    use_gpu = settings.device != "cpu" and n_gpus() > 0
    for scan in acquisitions:
        shape, affine = read_grid((scan.phase_files + scan.real_files)[0])
        override = settings.b0_direction
        scan_wf = init_scan_wf(
            acquisition=scan,
            b0_direction=unit_vector(override) if override else b0_direction(affine),
            settings=settings,
            output_dir=output_dir,
            templates=templates,
            memory=estimate_memory(shape, len(scan.echo_times_s)),
            contents=contents,
            omp_nthreads=resources.omp_nthreads or 1,
            use_gpu=use_gpu,
            command=command,
            write_fields=scan.name not in clashing,
        )
        crash_folder = log_folder(output_dir, scan.subject) / run_uuid
        for name in scan_wf.list_node_names():
            node = scan_wf.get_node(name)
            node.config = {"execution": execution | {"crashdump_dir": str(crash_folder)}}
        workflow.add_nodes([scan_wf])
    return workflow


def n_gpus() -> int:
    """Count the GPUs without touching CUDA, which a parent of workers must never do."""
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return 0
    return sum(line.startswith("GPU") for line in listing.stdout.splitlines())


def run_workflow(
    workflow: pe.Workflow,
    *,
    resources: Resources,
    plugin_file: Path | None = None,
) -> None:
    """Run a workflow with our plugin, or with the one of a YAML file.

    Raises
    ------
    RuntimeError
        Nipype's, after everything that could run has run, if a step failed.
    """
    flat = deepcopy(workflow._create_flat_graph())
    progress = Progress(len(generate_expanded_graph(flat).nodes()))
    if plugin_file is not None:
        plugin, arguments = _read_plugin(plugin_file)
        workflow.run(plugin=plugin, plugin_args={"status_callback": progress, **arguments})
        return
    arguments = {
        "n_procs": resources.n_procs,
        "memory_gb": resources.memory_gb or 0.9 * total_memory_gb(),
        "n_gpu_procs": 1,  # one device is used, whatever the machine has
        "raise_insufficient": False,
        "mp_context": "forkserver",
        "status_callback": progress,
    }
    plugin_of_ours = ResilientMultiProc(plugin_args=arguments)
    try:
        workflow.run(plugin=plugin_of_ours)
    finally:  # also when the run is interrupted
        plugin_of_ours.stop()


def total_memory_gb() -> float:
    """Memory given to this process: by Slurm, by a container, else by the machine."""
    if slurm := os.environ.get("SLURM_MEM_PER_NODE"):
        return float(slurm) / 1000
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    container = limit.read_text().strip() if limit.is_file() else "max"
    return (machine if container == "max" else min(machine, int(container))) / 1e9


def _read_plugin(path: Path) -> tuple[str, Mapping[str, Any]]:
    try:
        content = yaml.safe_load(path.read_text())
        return content["plugin"], content.get("plugin_args", {})
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise UsageError(
            f"--use-plugin {path}: expected a YAML file with plugin: and plugin_args: ({error})"
        ) from error


def record_settings(
    output_dir: Path, acquisitions: Sequence[Acquisition], run_uuid: str, toml: str
) -> None:
    """Write the settings of the run beside the results of each subject."""
    for subject in sorted({scan.subject for scan in acquisitions}):
        write_text(log_folder(output_dir, subject) / run_uuid / "isdu-bids.toml", toml)
