"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Draw the same weights for new networks in every run, whichever tests came before."""
    torch.manual_seed(0)


@pytest.fixture
def generator() -> torch.Generator:
    """Seeded source of random numbers."""
    return torch.Generator().manual_seed(1234)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Real and simulated scans to test with, where a developer has them."""
    folder = os.environ.get("ISDU_BIDS_TEST_DATA")
    if not folder:
        pytest.skip("ISDU_BIDS_TEST_DATA is not set")
    return Path(folder)
