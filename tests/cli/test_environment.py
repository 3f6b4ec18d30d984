"""Caches of compiled code: where numba looks for them in a run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from isdu_bids.cli.environment import prepare_environment


@pytest.fixture(autouse=True)
def restored(monkeypatch):
    """Undo at the end what the function does to the environment."""
    monkeypatch.setattr(os, "environ", os.environ.copy())
    os.environ.pop("NUMBA_CACHE_DIR", None)


@pytest.fixture
def compiled(tmp_path) -> Path:
    """Cache as a container brings it."""
    folder = tmp_path / "image" / "numba"
    folder.mkdir(parents=True)
    (folder / "grow.nbi").write_text("compiled")
    return folder


def numba_cache(work_dir: Path) -> Path:
    prepare_environment(work_dir, omp_nthreads=1, verbosity=0)
    return Path(os.environ["NUMBA_CACHE_DIR"])


@pytest.mark.parametrize("named", [{}, {"NUMBA_CACHE_DIR": ""}])
def test_cache_lies_in_the_work_folder(tmp_path, named):
    os.environ.update(named)
    assert numba_cache(tmp_path).is_relative_to(tmp_path)


def test_cache_of_the_user_is_kept(tmp_path, compiled):
    os.environ["NUMBA_CACHE_DIR"] = str(compiled)
    assert numba_cache(tmp_path / "work") == compiled


def test_read_only_cache_is_copied_once_and_then_kept(tmp_path, compiled, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: not Path(path).is_relative_to(compiled))
    for content in ("compiled", "compiled further"):
        os.environ["NUMBA_CACHE_DIR"] = str(compiled)
        cache = numba_cache(tmp_path / "work")
        assert cache.is_relative_to(tmp_path / "work")
        assert (cache / "grow.nbi").read_text() == content
        (cache / "grow.nbi").write_text("compiled further")
    assert [path.name for path in cache.parent.iterdir()] == ["numba"]
