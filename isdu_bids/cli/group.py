"""``isdu-bids BIDS OUT group``: tables and a page over the scans that are processed."""

from __future__ import annotations

from isdu_bids.errors import NoInputError, UsageError
from isdu_bids.settings import Running, Selection

#: What selects scans at the participant level; a table of some would pass for one of all.
_SELECTING = ("participant_label", "session_label", "bids_filter_file")


def run(selection: Selection, running: Running) -> int:
    """Write tables and page, or with ``--dry-run`` say how many scans there are.

    Raises
    ------
    UsageError
        If options select scans.
    NoInputError
        If no scan is processed.
    """
    from isdu_bids.bids.dataset import guard_output, write_dataset_files
    from isdu_bids.group.write import count_scans, write_group

    bids_dir, output_dir = selection.bids_dir, running.output_dir
    for name in _SELECTING:
        if getattr(selection, name):
            option = f"--{name.replace('_', '-')}"
            raise UsageError(f"{option} is for the participant level; group takes all scans")
    for folder in (bids_dir, output_dir):
        if not folder.is_dir():
            raise NoInputError(f"{folder} is not there; check the path")
    if running.dry_run:
        counts = count_scans(output_dir, bids_dir)
        print(", ".join(f"{n} {status}" for status, n in counts.items()) or "no scans")
        return 0
    guard_output(bids_dir, output_dir)
    written = write_group(output_dir, bids_dir)
    write_dataset_files(output_dir, bids_dir)
    for path in written:
        print(f"{'report' if path.suffix == '.html' else 'table'}: {path}")
    return 0
