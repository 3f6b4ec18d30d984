"""How steps come into a scan's workflow: everything that they need reaches them by its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from nipype.interfaces.base import BaseInterface
from nipype.interfaces.utility import Merge
from nipype.pipeline import engine as pe

from isdu_bids.bids.acquisition import Acquisition
from isdu_bids.geometry import Triple
from isdu_bids.packaged import checksums
from isdu_bids.registry import Choice, Registry
from isdu_bids.settings import Settings
from isdu_bids.workflows.contents import Contents
from isdu_bids.workflows.memory import Memory

#: Map by name -> the step and the output that it comes from.
Maps: TypeAlias = dict[str, tuple[pe.Node, str]]


@dataclass
class Corridor:
    """A scan's workflow as it grows.

    Attributes
    ----------
    workflow
        What is built.
    acquisition
        The checked scan.
    b0_direction
        Unit vector in voxel axes.
    settings
        Methods and device.
    output_dir
        Root of the derivative dataset.
    memory
        What each step needs.
    contents
        Checksums of the files that the user brings.
    omp_nthreads
        Threads of the steps that use several.
    use_gpu
        Whether steps take a GPU slot.
    command
        Of the run, for the records.
    steps
        Those that have notes, in the order of the walk.
    flags
        What the choice of steps leaves out.
    """

    workflow: pe.Workflow
    acquisition: Acquisition
    b0_direction: Triple
    settings: Settings
    output_dir: Path
    memory: Memory
    contents: Contents
    omp_nthreads: int = 1
    use_gpu: bool = False
    command: str = ""
    steps: list[pe.Node] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)

    def add(
        self,
        name: str,
        interface: BaseInterface,
        maps: Mapping[str, tuple[pe.Node, str]] | None = None,
        *,
        mem_gb: float = 0.2,
        n_procs: int = 1,
    ) -> Maps:
        """Add a step, whose inputs that are named as a map or as a fact of the scan get it.

        Parameters
        ----------
        name
            Of the step.
        interface
            What it does, with the inputs that are its own.
        maps
            Those that it may take.
        mem_gb, n_procs
            What it needs. A step with a device takes its threads in GPU slots where there is one.

        Returns
        -------
        dict
            The maps that it makes.
        """
        known = interface.inputs.copyable_trait_names()
        facts = self._facts()
        interface.inputs.trait_set(**{key: facts[key] for key in facts if key in known})
        if "device" in known:
            n_procs = 1 if self.use_gpu else self.omp_nthreads
        node = pe.Node(interface, name=name, mem_gb=mem_gb, n_procs=n_procs)
        self.workflow.add_nodes([node])
        for target, (step, output) in (maps or {}).items():
            if target in known:
                self.workflow.connect(step, output, node, target)
        made = interface.output_spec().copyable_trait_names()
        if "notes" in made:
            self.steps.append(node)
        return {output: (node, output) for output in made if output != "notes"}

    def gather(self, name: str, parts: Sequence[tuple[pe.Node, str]]) -> Maps:
        """Collect outputs of several steps in one list."""
        merge = pe.Node(Merge(len(parts)), name=name, run_without_submitting=True)
        for index, (step, output) in enumerate(parts, start=1):
            self.workflow.connect(step, output, merge, f"in{index}")
        return {name: (merge, "out")}

    def method(self, registry: Registry, choice: Choice) -> dict[str, Any]:
        """Say what a step needs to run a method: `isdu_bids.interfaces.base.MethodInput`."""
        parameters = registry[choice.name].located(choice.parameters)
        # steps run in folders of their own
        plain = {k: str(v.absolute()) if isinstance(v, Path) else v for k, v in parameters.items()}
        return {"method": choice.name, "parameters": plain, "checksums": checksums(parameters)}

    def _facts(self) -> dict[str, Any]:
        scan = self.acquisition
        return {
            "acquisition": scan,
            "b0_direction": self.b0_direction,
            "echo_times_s": list(scan.echo_times_s),
            "field_strength_t": scan.field_strength_t,
            "output_dir": str(self.output_dir),
            "command": self.command,
            "device": self.settings.device,
            "use_gpu": self.use_gpu,
            "inputs_sha256": self.contents.of_scan(scan),
        }
