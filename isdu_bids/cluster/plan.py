"""Which task does which scans; the list is written once, so that nothing shifts its indices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from isdu_bids.bids.names import build_name, parse_name
from isdu_bids.bids.query import QUERY_NAME

#: What a task processes -> entities that name it. A scan's ``rec`` does not: scans that differ in
#: it alone must meet in one run, or both would write field maps of one name.
PER: Mapping[str, tuple[str, ...]] = {
    "subject": ("sub",),
    "session": ("sub", "ses"),
    "scan": ("sub", "ses", "acq", "run"),
}
_FILTERED = {"acq": "acquisition", "run": "run"}  # by a filter file, as PyBIDS calls them
_COLUMNS = ("name", "arguments", "scans")


@dataclass(frozen=True)
class Task:
    """One task of an array.

    Attributes
    ----------
    name
        Entities that its scans share, e.g. ``sub-01_ses-1``.
    arguments
        What selects them on the command line of ``isdu-bids``.
    scans
        Their names.
    filters
        Content of a BIDS filter file that it needs as well; empty: none.
    """

    name: str
    arguments: tuple[str, ...]
    scans: tuple[str, ...]
    filters: Mapping[str, Any] = field(default_factory=dict, compare=False)


def plan_tasks(
    scans: Iterable[str], per: str = "subject", filters: Mapping[str, Any] | None = None
) -> list[Task]:
    """Group scans into tasks, in the order in which they come.

    Parameters
    ----------
    scans
        Their names, each once.
    per
        A key of `PER`.
    filters
        PyBIDS entities of the user's own filter file, which that of a task keeps.

    Examples
    --------
    >>> [task.scans for task in plan_tasks(["sub-01_run-1", "sub-01_run-2", "sub-02"])]
    [('sub-01_run-1', 'sub-01_run-2'), ('sub-02',)]
    >>> plan_tasks(["sub-01_ses-a"], "session")[0].arguments
    ('--participant-label', '01', '--session-label', 'a')
    """
    groups: dict[str, list[str]] = {}
    for scan in scans:
        entities = scan_entities(scan)
        shared = {key: entities[key] for key in PER[per] if key in entities}
        groups.setdefault(build_name(shared), []).append(scan)
    return [_task(name, tuple(members), per, filters) for name, members in groups.items()]


def scan_entities(scan: str) -> dict[str, str]:
    """Entities of the name of a scan."""
    return parse_name(f"{scan}_MEGRE")[0]


def list_text(tasks: Iterable[Task]) -> str:
    """Render the list of tasks: tab-separated, a header, then one line for each."""
    rows = [_COLUMNS, *((t.name, " ".join(t.arguments), " ".join(t.scans)) for t in tasks)]
    return "".join("\t".join(row) + "\n" for row in rows)


def read_list(text: str) -> list[Task]:
    """Read what `list_text` rendered."""
    rows = [line.split("\t") for line in text.splitlines()[1:]]
    return [Task(name, tuple(words.split()), tuple(scans.split())) for name, words, scans in rows]


def _task(name: str, scans: tuple[str, ...], per: str, filters: Mapping[str, Any] | None) -> Task:
    entities = scan_entities(name)
    sessions = dict.fromkeys(e["ses"] for e in map(scan_entities, scans) if "ses" in e)
    words = ["--participant-label", entities["sub"]]
    words += ["--session-label", *sessions] if sessions else []  # none that is added later
    wanted = dict(filters or {})
    if per == "scan":
        wanted |= {long: entities.get(short) for short, long in _FILTERED.items()}
    return Task(name, tuple(words), scans, {QUERY_NAME: wanted} if wanted else {})
