"""``isdu-bids``: the BIDS App. Heavy modules are imported when they are needed."""

from __future__ import annotations

import logging
import re
import shlex
import sys
import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from isdu_bids.bids.layout import report_path, subject_of
from isdu_bids.cli import group
from isdu_bids.cli.arguments import METHODS
from isdu_bids.cli.environment import prepare_environment
from isdu_bids.cli.interruption import GO_ON, Terminated, terminable
from isdu_bids.cli.parser import parse_options
from isdu_bids.errors import (
    BusyError,
    IsduError,
    MemoryShortageError,
    OptionsError,
    OutputError,
    ValidationError,
)
from isdu_bids.settings import Options, Resources, Selection, Settings

if TYPE_CHECKING:
    from isdu_bids.bids.acquisition import Acquisition
    from isdu_bids.bids.query import Problem, Query

logger = logging.getLogger("isdu_bids")

#: What the loader of libraries says where memory is short.
_NO_MEMORY = re.compile("failed to map segment|annot allocate memory")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the app and return its exit code."""
    try:
        with terminable():
            options = parse_options(arguments)
            logging.basicConfig(
                level=max(logging.DEBUG, logging.WARNING - 10 * options.running.verbose),
                format="%(levelname)s %(name)s: %(message)s",
            )
            # what it says of a bad header, the query says with the name of the file
            logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)
            return run(options, sys.argv[1:] if arguments is None else arguments)
    except IsduError as error:
        problem, exit_code = str(error), error.exit_code
    except Terminated:  # said so itself
        return 143
    except KeyboardInterrupt:
        problem, exit_code = f"interrupted; {GO_ON}", 130
    except (MemoryError, ImportError) as error:
        if isinstance(error, ImportError) and not _NO_MEMORY.search(str(error)):
            raise
        problem = "memory ran out; raise its limit (ulimit -v, the memory of the job)"
        exit_code = MemoryShortageError.exit_code
    except OSError as error:
        problem, exit_code = f"{error}; {GO_ON}", OutputError.exit_code
    print(f"isdu-bids: {problem}", file=sys.stderr)
    return exit_code


def run(options: Options, arguments: Sequence[str]) -> int:
    """Process the scans that the options select; a failed scan does not stop the others."""
    from isdu_bids.bids.dataset import guard_output, write_dataset_files
    from isdu_bids.bids.masks import derivative_folders
    from isdu_bids.cli.processing import changed_scans, process, set_aside_failed
    from isdu_bids.workflows.work_folder import private_folder

    selection, running = options.selection, options.running
    if running.analysis_level == "group":
        return group.run(selection, running)
    query = find_scans(selection, options.settings)
    if running.dry_run:
        print(describe(query))
        return 0
    guard_output(
        selection.bids_dir,
        running.output_dir,
        running.work_dir,
        derivative_folders(selection.derivatives),
        subjects_of(query),
    )
    work_dir = private_folder(running.work_dir, selection.bids_dir)
    resources = share_threads(options.resources, len(query.acquisitions))
    prepare_environment(
        work_dir,
        omp_nthreads=resources.omp_nthreads or 1,
        verbosity=running.verbose,
    )
    run_uuid = f"{datetime.now():%Y%m%d-%H%M%S}_{uuid.uuid4()}"
    problems, kept = list(query.problems), list[str]()
    tell(problems)
    try:
        if running.reports_only:
            problems += changed_scans(query.acquisitions, running.output_dir, work_dir)
        else:
            set_aside_failed(problems, running.output_dir, run_uuid)
            command = shlex.join(["isdu-bids", *arguments])
            scans = query.acquisitions
            process(options, scans, resources, run_uuid, work_dir, problems, kept, command)
    finally:
        tell(problems[len(query.problems) :])
        for name in kept:
            print(f"{name}: nothing has changed since it was processed")
        write_dataset_files(running.output_dir, selection.bids_dir)
        pages = write_pages(running.output_dir, query, problems, kept, run_uuid)
        for page in pages:
            print(f"report: {page}")
        if not pages:
            print(f"no reports: {running.output_dir} holds no processed scan", file=sys.stderr)
    exit_codes = [problem.error.exit_code for problem in problems]
    return 1 if 1 in exit_codes else (*exit_codes, 0)[0]


def write_pages(
    output_dir: Path, query: Query, problems: Iterable[Problem], kept: Iterable[str], run_uuid: str
) -> list[Path]:
    """Write the report of each subject, but of those of which no scan has changed."""
    names = {scan.name for scan in query.acquisitions} | {problem.name for problem in problems}
    outdated = set(map(subject_of, names - set(kept)))
    pages = {subject: report_path(output_dir, subject) for subject in map(subject_of, names)}
    outdated |= {subject for subject, page in pages.items() if not page.exists()}
    current = [page for subject, page in pages.items() if subject not in outdated]
    if not outdated:
        return sorted(current)
    from isdu_bids.workflows.reporting import write_reports  # loads torch and Matplotlib

    failures = {p.name: p.message for p in problems if p.error is not BusyError}
    written = write_reports(output_dir, sorted(outdated), run_uuid=run_uuid, failures=failures)
    return sorted([*current, *written])


def tell(problems: Iterable[Problem]) -> None:
    """Print what is wrong with each scan in one line."""
    for problem in problems:
        print(f"{problem.name}: {problem.message}", file=sys.stderr)


def find_scans(selection: Selection, settings: Settings) -> Query:
    """Validate the dataset, unless told not to, and query it."""
    from isdu_bids.bids.query import Problem, Query, find_acquisitions, read_filter_file
    from isdu_bids.bids.validation import check_input

    filter_file = selection.bids_filter_file
    query = find_acquisitions(
        selection.bids_dir,
        participant_labels=selection.participant_label,
        session_labels=selection.session_label,
        filters=read_filter_file(filter_file) if filter_file else None,
        database_dir=selection.bids_database_dir,
        mask_pattern=selection.mask_pattern,
        derivatives=selection.derivatives,
    )
    invalid = {} if selection.skip_bids_validation else check_input(selection.bids_dir)
    usable, problems = [], list(query.problems)
    for scan in query.acquisitions:
        if scan.subject in invalid:
            message = (
                f"the BIDS validator objects (--skip-bids-validation): {invalid[scan.subject]}"
            )
            problems.append(Problem(scan.name, message, ValidationError))
        elif reason := contradiction(scan, settings):
            problems.append(Problem(scan.name, reason, OptionsError))
        else:
            usable.append(scan)
    return Query(tuple(usable), tuple(problems))


def contradiction(scan: Acquisition, settings: Settings) -> str | None:
    """Say in one line what the settings ask of a scan that it does not have."""
    n_echoes = len(scan.echo_times_s)
    n_decay = METHODS["relaxation"].min_echoes(settings.relaxation)
    for name, registry in METHODS.items():
        choice = getattr(settings, name)
        if choice.name not in registry:  # left open, or nothing to be done
            continue
        method, needed = registry[choice.name], registry.min_echoes(choice)
        if method.takes(["r2star_per_s"]):
            needed = max(needed, n_decay)
        # R2* is left out where it cannot be fitted, whatever the method
        if n_echoes < needed and name != "relaxation":
            return (
                f"--{name} {choice.name} needs {needed} echoes, the scan has {n_echoes}; "
                f"use another --{name}"
            )
    return None


def describe(query: Query) -> str:
    """List the scans found, and what is wrong with the others."""
    lines = []
    for scan in query.acquisitions:
        times = ", ".join(f"{1e3 * time:g}" for time in scan.echo_times_s)
        lines.append(f"{scan.name}: {scan.suffix}, TE {times} ms, {scan.field_strength_t:.3g} T")
    lines += [f"{problem.name}: NOT USABLE: {problem.message}" for problem in query.problems]
    return "\n".join(lines)


def subjects_of(query: Query) -> list[str]:
    """Labels of all subjects that a query met, usable or not."""
    names = [scan.name for scan in query.acquisitions] + [p.name for p in query.problems]
    return sorted(set(map(subject_of, names)))


def share_threads(resources: Resources, n_scans: int) -> Resources:
    """Give each step the processors that scans running side by side leave it."""
    if resources.omp_nthreads:
        return resources
    side_by_side = max(1, min(n_scans, resources.n_procs))
    return Resources(
        resources.n_procs, max(1, resources.n_procs // side_by_side), resources.memory_gb
    )


if __name__ == "__main__":
    sys.exit(main())
