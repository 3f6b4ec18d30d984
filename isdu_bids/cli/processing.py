"""Processing of the scans of a run: which ones, what went wrong, what earlier runs left."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Collection, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from isdu_bids import __version__
from isdu_bids.bids.acquisition import Acquisition
from isdu_bids.bids.layout import summary_path
from isdu_bids.bids.outdated import set_aside
from isdu_bids.bids.outputs import with_one_field_name
from isdu_bids.bids.provenance import raw_uri
from isdu_bids.bids.query import Problem
from isdu_bids.cli.arguments import METHODS
from isdu_bids.errors import BusyError, DataError, IsduError, OptionsError
from isdu_bids.files import file_state, to_toml
from isdu_bids.packaged import PACKAGE, checksums
from isdu_bids.settings import Options, Resources, Settings
from isdu_bids.workflows.contents import Contents
from isdu_bids.workflows.finished import Finished
from isdu_bids.workflows.work_folder import claimed


def process(
    options: Options,
    scans: Sequence[Acquisition],
    resources: Resources,
    run_uuid: str,
    work_dir: Path,
    problems: list[Problem],
    kept: list[str],
    command: str,
) -> None:
    """Run the workflow on the scans that no other run works on.

    What goes wrong is added to ``problems``, also where the run is interrupted, and the names of
    scans that need no run to ``kept``.
    """
    output_dir = options.running.output_dir
    contents = Contents(_checksums(work_dir))
    with claimed(scans, (work_dir, output_dir / "logs")) as (free, busy):
        problems += [_busy(scan) for scan in busy]
        failed = [problem for scan in free if (problem := _unreadable(scan, contents))]
        contents.save()
        unusable = {problem.name for problem in failed}
        usable = [scan for scan in free if scan.name not in unusable]
        clashing = with_one_field_name(scans)
        made_of = {
            scan.name: ingredients(scan, options.settings, contents, scan.name in clashing)
            for scan in usable
        }
        finished = Finished(work_dir, output_dir, made_of)
        if not options.settings.output_spaces:  # a template may have come since
            kept += [scan.name for scan in usable if finished.holds(scan)]
        usable = [scan for scan in usable if scan.name not in kept]
        for scan in usable:
            finished.forget(scan)
        before = {scan.name: _written(output_dir, scan) for scan in usable}
        try:
            if usable:
                failed += run_all(
                    options, usable, resources, run_uuid, work_dir, contents, command, clashing
                )
        except KeyboardInterrupt:
            late = [scan for scan in usable if _written(output_dir, scan) == before[scan.name]]
            text = "not finished, because the run was stopped; the same command goes on"
            problems += [Problem(scan.name, text, IsduError) for scan in late]
            raise
        problems += failed
        set_aside_failed(failed, output_dir, run_uuid)
        unfinished = {problem.name for problem in failed}
        for scan in usable:
            if scan.name not in unfinished:
                finished.remember(scan)


def ingredients(scan: Acquisition, settings: Settings, contents: Contents, clashes: bool) -> str:
    """Checksum of all that decides what is written of a scan: files, methods, this code.

    What a rule that looks at the scan will choose follows from its files. The files of all other
    methods, such as weights, are looked for now, unless the user's images take their place.
    """
    chosen: list[Any] = []
    not_run = {"mask": scan.mask_file, "segmentation": scan.dseg_file}
    for name, registry in METHODS.items():
        if not_run.get(name):
            continue
        choice = getattr(settings, name)
        if not (registry.auto and registry.auto.inputs):
            choice = registry.resolved(choice, {})
        if choice and choice.name in registry:
            chosen += [choice.name, checksums(registry[choice.name].located(choice.parameters))]
    parts = [_code(), settings, chosen, scan, contents.of_scan(scan), clashes]
    return hashlib.sha256(repr(parts).encode()).hexdigest()


@cache
def _code() -> list[tuple[str, list[int]]]:
    """State of the installed code, which changes without its version while it is developed."""
    return [(str(path), file_state(path)) for path in sorted(PACKAGE.rglob("*.py"))]


def changed_scans(scans: Iterable[Acquisition], output_dir: Path, work_dir: Path) -> list[Problem]:
    """Find scans whose files are no longer those that their maps were made from."""
    from isdu_bids.quality.record import read_record  # loads torch

    contents, changed = Contents(_checksums(work_dir)), []
    for scan in scans:
        try:
            made_from = read_record(summary_path(output_dir, scan)).facts.get("inputs_sha256")
        except DataError:  # none, or one that the report says cannot be read
            continue
        if made_from not in (None, contents.of_scan(scan)):
            text = "the scan has changed since its map was made; run it again"
            changed.append(Problem(scan.name, text, DataError))
    contents.save()
    return changed


def set_aside_failed(problems: Iterable[Problem], output_dir: Path, run_uuid: str) -> None:
    """Move outputs of earlier runs of scans that failed, and say so."""
    for problem in problems:
        is_refused = issubclass(problem.error, DataError)
        if (is_refused or problem.error is IsduError) and problem.error is not OptionsError:
            place = set_aside(output_dir, problem.name, run_uuid)
            if place is not None:
                print(f"{problem.name}: earlier results are now in {place}", file=sys.stderr)


def run_all(
    options: Options,
    scans: Sequence[Acquisition],
    resources: Resources,
    run_uuid: str,
    work_dir: Path,
    contents: Contents,
    command: str,
    clashing: Collection[str],
) -> list[Problem]:
    """Run all steps of some scans, and return those that failed.

    Raises
    ------
    IsduError
        If the run stopped at the first error before any scan was done for.
    """
    from isdu_bids.template.find import find_templates
    from isdu_bids.template.spaces import parse_spaces
    from isdu_bids.workflows.crashes import error_class, failed_scans, last_error
    from isdu_bids.workflows.run import init_run_wf, record_settings, run_workflow

    running, settings = options.running, options.settings
    record = to_toml({"isdu_bids": {"version": __version__}, "options": options.record})
    record_settings(running.output_dir, scans, run_uuid, record)
    templates, unusable = find_templates(
        parse_spaces(settings.output_spaces), work_dir / "cache" / "templateflow"
    )
    for space, why in unusable.items():
        print(f"isdu-bids: no maps in {space}: {why}", file=sys.stderr)
    workflow = init_run_wf(
        acquisitions=scans,
        settings=settings,
        templates=templates,
        resources=resources,
        output_dir=running.output_dir,
        work_dir=work_dir,
        run_uuid=run_uuid,
        contents=contents,
        command=command,
        clashing=clashing,
        stop_on_first_crash=running.stop_on_first_crash,
    )
    try:
        run_workflow(workflow, resources=resources, plugin_file=running.use_plugin)
    except RuntimeError as error:
        failures = failed_scans(running.output_dir, scans, run_uuid)
        if not failures:
            raise IsduError(f"stopped at the first error: {last_error(str(error))}") from error
        return [Problem(name, text, error_class(text)) for name, text in failures.items()]
    return []


def _checksums(work_dir: Path) -> Path:
    return work_dir / "checksums.json"


def _busy(scan: Acquisition) -> Problem:
    text = "another run works on this scan, in this output or work folder; wait for its end"
    return Problem(scan.name, text, BusyError)


def _unreadable(scan: Acquisition, contents: Contents) -> Problem | None:
    """Say what would fail when all is computed, or that a file cannot be read."""
    try:
        for path in scan.source_files:
            raw_uri(path, scan.subject)
        contents.of_scan(scan)
    except DataError as error:
        return Problem(scan.name, str(error), DataError)
    return None


def _written(output_dir: Path, scan: Acquisition) -> int | None:
    record = summary_path(output_dir, scan)
    return record.stat().st_mtime_ns if record.exists() else None
