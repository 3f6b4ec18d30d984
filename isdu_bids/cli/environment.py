"""The process environment of a run: threads, caches, Nipype's configuration.

It must be set before Nipype, torch or matplotlib are imported, here and in the workers.
"""

from __future__ import annotations

import configparser
import contextlib
import os
import shutil
from pathlib import Path

from isdu_bids.files import replacing

_ITK = "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"  # of ANTs


def prepare_environment(work_dir: Path, *, omp_nthreads: int, verbosity: int) -> None:
    """Set environment variables, and write ``nipype.cfg`` into the work folder.

    Workers started by forkserver do not inherit settings made in Python; they read this file.
    """
    # errors are told in one line by us; their tracebacks lie in the crash files
    level = {0: "CRITICAL", 1: "INFO"}.get(verbosity, "DEBUG")
    parser = configparser.ConfigParser()
    parser.read_dict(
        {
            "logging": {
                "workflow_level": level,
                "interface_level": level,
                "utils_level": level,
                "log_to_file": "false",
            },
            "execution": {"check_version": "false"},
        }
    )
    work_dir = work_dir.absolute()
    folder = work_dir / "config"
    with replacing(folder / "nipype.cfg") as partial, partial.open("w") as stream:
        parser.write(stream)
    os.environ["NIPYPE_CONFIG_DIR"] = str(folder)
    os.environ["NO_ET"] = os.environ["NIPYPE_NO_ET"] = "1"  # no version check over the network
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", _ITK):
        os.environ[variable] = str(omp_nthreads)
    # A container's root and home are often read-only; compiled code is worth keeping between runs.
    caches = work_dir / "cache"
    os.environ.setdefault("MPLCONFIGDIR", str(caches / "matplotlib"))
    os.environ["NUMBA_CACHE_DIR"] = str(_writable_numba_cache(caches / "numba"))


def _writable_numba_cache(folder: Path) -> Path:
    """Return the cache that the user or a container names; if it is read-only, a copy in `folder`.

    numba compiles anew, ten seconds long, where it cannot write to its cache.
    """
    given = os.environ.get("NUMBA_CACHE_DIR")
    if not given:
        return folder
    if not Path(given).is_dir() or os.access(given, os.W_OK):
        return Path(given)
    if not folder.is_dir():
        partial = folder.with_name(f"numba.{os.getpid()}")
        shutil.copytree(given, partial)
        with contextlib.suppress(OSError):  # another job with this work folder was faster
            partial.rename(folder)
    return folder
