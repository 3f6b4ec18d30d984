"""The scripts that a scheduler runs, as text.

A task reads its line of the frozen list, calls the app, hands on the signal that comes before the
time limit, and leaves its exit code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from shlex import join, quote
from typing import Any

from isdu_bids.cluster.schedulers import Request, Scheduler


@dataclass(frozen=True, kw_only=True)
class Launch:
    """How a task calls the app.

    Attributes
    ----------
    bids_dir, output_dir
        Input and output, absolute.
    current_dir
        Where relative names among the options of the app start.
    app
        Words that run ``isdu-bids``, outside a container.
    container
        Image to run instead, for Apptainer; empty: none.
    bind
        Further folders that the container sees, read-only.
    scratch
        Folder for work folders, which may name variables of the node.
    header
        Lines to put before the first command: further directives, ``module load`` and the like.
    """

    bids_dir: Path
    output_dir: Path
    current_dir: Path
    app: tuple[str, ...]
    container: str = ""
    bind: tuple[str, ...] = ()
    scratch: str = "${TMPDIR:-/tmp}"
    header: str = ""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Launch:
        """Make one from plain values, as a TOML file has them."""
        return cls(**{f.name: _typed(f.name, values[f.name]) for f in fields(cls)})

    def words(self, *, gpu: bool) -> str:
        """Words that run ``isdu-bids``, as the shell writes them; ``$work`` is the work folder."""
        if not self.container:
            return join(self.app)
        binds = [
            f"{quote(str(path))}:{quote(str(path))}:ro" for path in (self.bids_dir, *self.bind)
        ]
        out = quote(str(self.output_dir))
        options = [f"-B {bind}" for bind in (*binds, f"{out}:{out}", '"$work:$work"')]
        run = "apptainer run --containall --cleanenv" + (" --nv" if gpu else "")
        return " \\\n        ".join([run, *options, quote(self.container)])

    @property
    def work(self) -> str:
        """Parent of the work folders, as the shell writes it: no other output folder has it."""
        key = hashlib.sha256(str(self.output_dir).encode()).hexdigest()[:8]
        return f"{self.scratch}/isdu-bids_{key}"


_ARRAY = """\
#!/bin/bash
{top}

folder={folder}
task={task}

# The list was frozen at submission: its first line names the columns, the next is of task 1.
IFS=$'\\t' read -r name arguments _ < <(sed -n "$((task + 1))p" "$folder/tasks.tsv")
[ "$name" ] || exit 0 # an array may need more tasks than there are
read -ra arguments <<< "$arguments"
filters=$folder/filters/$name.json
[ -e "$filters" ] && arguments+=(--bids-filter-file "$filters")

work="{work}/$name"
mkdir -p "$work"
rm -f "$folder/state/$task.exit"
echo "job {job_number} on $HOSTNAME" > "$folder/state/$task.started"

# Before the time limit the scheduler warns this shell, or all processes; the app is told to stop.
stopped=''
trap 'stopped=" stopped"; kill -TERM "$app" 2> /dev/null' TERM USR1 USR2
cd {current_dir} || exit
( # which knows no USR1 and would die of it
    trap '' USR1 USR2
    exec {words} \\
        {bids_dir} {output_dir} participant \\
        --config-file "$folder/isdu-bids.toml" --skip-bids-validation "${{arguments[@]}}" \\
        --work-dir "$work" --nprocs "{cpus}" --mem "{memory_mb}"
) &
app=$!
while wait "$app"; kill -0 "$app" 2> /dev/null; do :; done # a signal cuts wait short
wait "$app" # bash remembers how it ended; the wait before may have ended by the signal
code=$?
[ "$code" -lt 0 ] && code=143 # bash 5.2 forgets an app that died of the signal that cut its wait
echo "$code$stopped" > "$folder/state/$task.exit"
[ "$code" = 0 ] && rm -rf "$work" # else a resubmission goes on from there
exit "$code"
"""

_GROUP = """\
#!/bin/bash
{top}

folder={folder}
work="{work}/group"
mkdir -p "$work"
cd {current_dir} || exit
{words} \\
    {bids_dir} {output_dir} group --work-dir "$work"
code=$?
echo "$code" > "$folder/state/group.exit"
exit "$code"
"""


def array_script(
    words: Scheduler, request: Request, launch: Launch, folder: Path, n_tasks: int
) -> str:
    """Render the script that every task runs."""
    return _render(_ARRAY, words, request, launch, folder, n_tasks)


def group_script(words: Scheduler, request: Request, launch: Launch, folder: Path) -> str:
    """Render the script of the job that gathers the results of all tasks."""
    return _render(_GROUP, words, replace(request, gpu=False), launch, folder, 0)


def _render(
    template: str, words: Scheduler, request: Request, launch: Launch, folder: Path, n_tasks: int
) -> str:
    name = "isdu-bids" if n_tasks else "isdu-bids-group"
    top = words.directives(request, name=name, log_dir=f"{folder}/log", n_tasks=n_tasks)
    top += [launch.header.strip()] if launch.header else []
    return template.format(
        top="\n".join(top),
        folder=quote(str(folder)),
        task=words.task,
        work=launch.work,
        job_number=words.job_number,
        current_dir=quote(str(launch.current_dir)),
        words=launch.words(gpu=request.gpu),
        bids_dir=quote(str(launch.bids_dir)),
        output_dir=quote(str(launch.output_dir)),
        cpus=words.cpus,
        memory_mb=words.memory_mb.format(**vars(request)),
    )


def _typed(name: str, value: Any) -> Any:
    if name.endswith("_dir"):
        return Path(value)
    return tuple(value) if isinstance(value, list) else value
