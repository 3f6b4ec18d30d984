from __future__ import annotations

from pathlib import Path

import pytest
from heads import write_head

from isdu_bids.cli import app


@pytest.fixture(scope="session")
def head_dataset(tmp_path_factory) -> Path:
    """Two good subjects."""
    dataset = tmp_path_factory.mktemp("raw") / "bids"
    for subject in ("01", "02"):
        write_head(dataset, subject)
    return dataset


@pytest.fixture(scope="session")
def processed(head_dataset, tmp_path_factory) -> Path:
    """Folder with ``out`` and ``work`` of a run by the command line over both subjects."""
    folder = tmp_path_factory.mktemp("run")
    code = app.main(
        [str(head_dataset), str(folder / "out"), "participant", "-w", str(folder / "work"),
         "--nprocs", "2", "--segmentation", "small"]
    )  # fmt: skip
    assert code == 0
    return folder
