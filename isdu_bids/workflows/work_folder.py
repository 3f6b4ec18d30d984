"""The work folder: one for each dataset and user, closed to others, each scan used by one run."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import logging
import os
import re
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from isdu_bids.bids.acquisition import Acquisition
from isdu_bids.errors import DataError, OutputError
from isdu_bids.files import read_json

logger = logging.getLogger(__name__)


def private_folder(work_dir: Path, bids_dir: Path) -> Path:
    """Folder of one dataset and user in a work folder, which only that user can read and write.

    Results there are read by pickle: whoever can write them can run code in the next run.

    Raises
    ------
    OutputError
        If somebody else owns the folder or can write into it, or it cannot be made.
    """
    bids_dir = bids_dir.resolve()
    try:  # containers mount every dataset at one path
        title = read_json(bids_dir / "dataset_description.json").get("Name")
    except DataError:
        title = None
    identity = f"{os.geteuid()}\n{bids_dir}\n{title}"
    label = re.sub(r"[^\w.-]", "_", bids_dir.name)
    digest = hashlib.sha256(identity.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    folder = work_dir / f"{label}-{digest}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as ours:  # some file servers change all owners
            owner = os.fstat(ours.fileno()).st_uid
        found = folder.lstat()
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be written ({error.strerror}); choose another --work-dir"
        ) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner or found.st_mode & 0o022:
        raise OutputError(
            f"others own the work folder {folder}, or can write into it, and so could run code "
            "here; remove it or choose another --work-dir"
        )
    return folder


@contextmanager
def claimed(
    acquisitions: Sequence[Acquisition], folders: Sequence[Path]
) -> Iterator[tuple[list[Acquisition], list[Acquisition]]]:
    """Take the scans that no other run works on in these folders, until the end of the block.

    The kernel frees them when a run ends, however it ends. One file has a byte for each scan,
    because a process cannot hold a file open for each scan of a cohort.

    Yields
    ------
    free, busy
        Scans of this run, and those of others.
    """
    with ExitStack() as stack:
        files = [stack.enter_context(stream) for folder in folders if (stream := _open(folder))]
        free: list[Acquisition] = []
        busy: list[Acquisition] = []
        for scan in acquisitions:
            taken = all(_lock(stream, scan.name) for stream in files)
            (free if taken else busy).append(scan)
        yield free, busy


def _open(folder: Path) -> IO[bytes] | None:
    path = folder / ".lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return path.open("ab")
    except OSError as error:
        logger.warning("%s (%s): other runs here are not noticed", path, error.strerror)
        return None


def _lock(stream: IO[bytes], name: str) -> bool:
    byte = int.from_bytes(hashlib.sha256(name.encode()).digest()[:7])
    try:
        fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            return False
        logger.warning("%s (%s): other runs here are not noticed", stream.name, error.strerror)
    return True
