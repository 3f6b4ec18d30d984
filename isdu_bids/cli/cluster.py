"""``isdu-qsm cluster``: a whole dataset as one job array, what became of each scan, and again."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path

from isdu_bids.bids.dataset import guard_output
from isdu_bids.bids.query import QUERY_NAME, read_filter_file
from isdu_bids.cli.app import find_scans
from isdu_bids.cli.arguments import Parser, positive
from isdu_bids.cli.parser import LEVELS, memory_gb, parse_options
from isdu_bids.cluster.plan import PER, Task, list_text, plan_tasks
from isdu_bids.cluster.queue import PENDING, RUNNING
from isdu_bids.cluster.schedulers import SCHEDULERS, Request
from isdu_bids.cluster.scripts import Launch
from isdu_bids.cluster.status import missing_scans, scan_statuses, table_text, tsv_text
from isdu_bids.cluster.submission import Submission, Submitted, read_submissions, submit
from isdu_bids.errors import UsageError
from isdu_bids.files import write_text
from isdu_bids.settings import Options

#: How a task runs this installation of the app, whatever the PATH of a node.
APP = (sys.executable, "-m", "isdu_bids.cli.app")
#: Options that each task is given anew.
_OF_TASK = ("work_dir", "n_procs", "memory_gb")


def add_arguments(parser: Parser) -> None:
    """Add what the command takes."""
    verbs = parser.add_subparsers(dest="verb", required=True, parser_class=Parser)
    submitting = verbs.add_parser(
        "submit",
        help="submit one job array for all scans of a dataset",
        usage="%(prog)s [OPTION ...] BIDS_DIR OUTPUT_DIR participant [OPTION OF isdu-bids ...]",
    )
    status = verbs.add_parser("status", help="what became of each scan")
    again = verbs.add_parser("resubmit", help="submit again what failed, and nothing else")
    _add_choices(submitting)
    for verb in (submitting, again):
        _add_request(verb)
    submitting.add_argument("bids_dir", help="from here on as for isdu-bids")
    submitting.add_argument("words", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    for verb in (status, again):
        verb.add_argument("output_dir", type=Path, help="output folder of isdu-bids")
    status.add_argument("--tsv", type=Path, metavar="FILE", help="write the table there as well")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    if options.verb == "submit":
        submit_dataset(options)
    elif options.verb == "resubmit":
        resubmit(options)
    else:
        rows = scan_statuses(_submissions(options.output_dir))
        if options.tsv:
            write_text(options.tsv, tsv_text(rows))
        print(table_text(rows))


def submit_dataset(options: argparse.Namespace) -> None:
    """Freeze the list of scans and submit it.

    Raises
    ------
    UsageError
        If another level than the participants' is to be submitted.
    """
    if LEVELS[0] not in options.words:
        raise UsageError(f"the level {LEVELS[0]} is submitted; --group adds the other after it")
    app_options = parse_options([options.bids_dir, *options.words])
    submission = submission_of(options, app_options)
    output_dir = app_options.running.output_dir
    if not options.dry_run:
        guard_output(app_options.selection.bids_dir, output_dir)
    tasks, unusable = plan(app_options, options.per)
    refuse_duplicates(read_submissions(output_dir), {s for t in tasks for s in t.scans})
    _hand_over(submission, tasks, app_options, unusable, dry_run=options.dry_run)


def submission_of(options: argparse.Namespace, app_options: Options) -> Submission:
    """Turn the options into a submission.

    Raises
    ------
    UsageError
        If a scheduler cannot take the names of the folders.
    """
    output_dir = app_options.running.output_dir
    if re.search(r"\s", f"{output_dir}{options.scratch}"):
        raise UsageError(f"{output_dir}: schedulers take no names with spaces; rename it")
    return Submission(
        scheduler=options.scheduler,
        per=options.per,
        request=_request(options, Request()),
        launch=Launch(
            bids_dir=app_options.selection.bids_dir,
            output_dir=output_dir,
            current_dir=Path.cwd(),
            app=APP,
            container=str(options.container.absolute()) if options.container else "",
            bind=tuple(str(path.absolute()) for path in options.bind),
            scratch=options.scratch,
            header=options.header.read_text() if options.header else "",
        ),
        group=options.group,
    )


def resubmit(options: argparse.Namespace) -> None:
    """Submit again, by a new frozen list, the scans of earlier submissions that have failed."""
    submissions = {s.submission.name: s.submission for s in _submissions(options.output_dir)}
    missing = missing_scans(scan_statuses(_submissions(options.output_dir)))
    if not missing:
        print("nothing has failed")
    for name, scans in missing.items():
        earlier = submissions[name]
        subjects = sorted({scan.split("_")[0] for scan in scans})
        words = [str(earlier.launch.bids_dir), str(earlier.launch.output_dir), LEVELS[0]]
        words += ["--config-file", str(earlier.folder / "isdu-bids.toml")]
        app_options = parse_options([*words, "--participant-label", *subjects])
        tasks, unusable = plan(app_options, earlier.per, set(scans))
        submission = replace(
            Submission(request=_request(options, earlier.request), launch=earlier.launch),
            scheduler=earlier.scheduler,
            per=earlier.per,
            group=earlier.group,
        )
        _hand_over(submission, tasks, app_options, unusable, dry_run=options.dry_run)


def plan(
    options: Options, per: str, names: Collection[str] | None = None
) -> tuple[list[Task], dict[str, str]]:
    """Tasks for the scans that the options select, and what is wrong with the others.

    Parameters
    ----------
    options
        Of the app.
    per
        What each task processes.
    names
        Scans to take; None takes all.
    """
    query = find_scans(options.selection, options.settings)
    file = options.selection.bids_filter_file
    filters = read_filter_file(file)[QUERY_NAME] if file else None
    scans = [scan.name for scan in query.acquisitions if names is None or scan.name in names]
    unusable = {p.name: p.message for p in query.problems if names is None or p.name in names}
    return plan_tasks(scans, per, filters), unusable


def refuse_duplicates(submissions: Iterable[Submitted], scans: Collection[str]) -> None:
    """Refuse scans that a job processes already.

    Raises
    ------
    UsageError
        If there are any.
    """
    busy = [
        row.scan
        for row in scan_statuses(list(submissions))
        if row.status in (RUNNING, PENDING) and row.scan in scans
    ]
    if busy:
        raise UsageError(
            f"{len(busy)} scans, {busy[0]} among them, run or wait already: see "
            "isdu-qsm cluster status; cancel those jobs first, or select others"
        )


def _hand_over(
    submission: Submission,
    tasks: list[Task],
    options: Options,
    unusable: dict[str, str],
    *,
    dry_run: bool,
) -> None:
    for name, why in unusable.items():
        print(f"{name}: NOT SUBMITTED: {why}", file=sys.stderr)
    if dry_run:
        print(described(submission, tasks))
        return
    recorded = {key: value for key, value in options.record.items() if key not in _OF_TASK}
    submission = submit(submission, tasks, recorded, unusable)
    n_scans = sum(len(task.scans) for task in tasks)
    print(
        f"{n_scans} scans in {len(tasks)} tasks: job {submission.job or 'none'}"
        + (f", then job {submission.group_job}" if submission.group_job else "")
        + f"\n{submission.folder}"
    )


def described(submission: Submission, tasks: list[Task]) -> str:
    """Show what would be submitted: the list, the scripts and the commands."""
    parts = {"tasks.tsv": list_text(tasks), **submission.scripts(len(tasks))}
    commands = "\n".join(shlex.join(command) for command in submission.commands())
    return "\n".join(f"# {name}\n{text}" for name, text in parts.items()) + f"\n{commands}"


def _submissions(output_dir: Path) -> list[Submitted]:
    submissions = read_submissions(output_dir.absolute())
    if not submissions:
        raise UsageError(f"{output_dir}: nothing was submitted for this output folder")
    return submissions


def _request(options: argparse.Namespace, default: Request) -> Request:
    """Put what was asked for over the default."""
    given = {
        "cpus": options.cpus,
        "memory_mb": round(1000 * options.mem) if options.mem else None,
        "minutes": options.time,
        "grace_s": options.grace,
        "at_most": options.at_most,
        "gpu": options.gpu or None,
    }
    return replace(default, **{name: value for name, value in given.items() if value is not None})


def _add_choices(parser: Parser) -> None:
    parser.add_argument("--scheduler", choices=SCHEDULERS, default="slurm")
    parser.add_argument(
        "--per", choices=PER, default="subject", help="what one task does (default: %(default)s)"
    )
    parser.add_argument(
        "--container",
        type=Path,
        metavar="IMAGE",
        help="Apptainer image to run (default: this installation of isdu-bids)",
    )
    parser.add_argument(
        "--bind",
        type=Path,
        nargs="+",
        default=[],
        metavar="DIR",
        help="further folders that the container must see: weights, derivatives",
    )
    parser.add_argument(
        "--scratch",
        default="${TMPDIR:-/tmp}",
        metavar="DIR",
        help="parent of the work folders, one per task; variables in single quotes are those of "
        "the node; on a shared disk a resubmission goes on from there (default: %(default)s)",
    )
    parser.add_argument(
        "--header",
        type=Path,
        metavar="FILE",
        help="lines to put at the top of the scripts: directives of the site, module load",
    )
    parser.add_argument(
        "--group",
        action=argparse.BooleanOptionalAction,
        default="group" in LEVELS,
        help="a last job that gathers all results, whatever became of the tasks",
    )


def _add_request(parser: Parser) -> None:
    """Add what each task asks for, without defaults: a resubmission keeps what it had."""
    usual = Request()
    group = parser.add_argument_group("each task asks for")
    group.add_argument(
        "--cpus", type=positive, metavar="N", help=f"processors (default: {usual.cpus})"
    )
    group.add_argument(
        "--mem",
        type=memory_gb,
        metavar="MB|nG",
        help=f"memory: MB, or with suffix K, M, G, T (default: {usual.memory_mb})",
    )
    group.add_argument(
        "--time",
        type=positive,
        metavar="MINUTES",
        help=f"time limit (default: {usual.minutes})",
    )
    group.add_argument(
        "--grace",
        type=positive,
        metavar="SECONDS",
        help=f"how long before the limit it is told to stop (default: {usual.grace_s})",
    )
    group.add_argument("--gpu", action="store_true", help="a GPU; --nv in a container")
    group.add_argument(
        "--at-most", type=positive, metavar="N", help="tasks that run at the same time"
    )
    parser.add_argument("--dry-run", action="store_true", help="print what would be submitted")
