"""docs/training.md and docs/segmentation.md list every key of recipes, with its default."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from isdu_bids.networks.denoisers import DENOISERS
from isdu_bids.networks.unrolled import Architecture
from isdu_bids.simulation.contrasts import ContrastSettings
from isdu_bids.simulation.patches import PatchSettings
from isdu_bids.training.batch import LOSSES
from isdu_bids.training.inversion import SAMPLINGS, Inversion
from isdu_bids.training.patch_set import PatchSetSettings
from isdu_bids.training.segmentation import Segmentation
from isdu_bids.training.tasks import TASKS

DOCS = Path(__file__).parents[2] / "docs"
SECTIONS = {"architecture", "patches", "contrast"}


@pytest.fixture(scope="module")
def rows() -> list[str]:
    """Rows of the tables of keys."""
    texts = [(DOCS / name).read_text() for name in ("training.md", "segmentation.md")]
    return [line for text in texts for line in text.splitlines() if line.startswith("|")]


@pytest.mark.parametrize(
    "kind",
    [Inversion, Segmentation, PatchSettings, PatchSetSettings, ContrastSettings, Architecture],
)
def test_every_key_has_a_row(kind, rows):
    first_cells = [row.split("|")[1] for row in rows]
    for name in {field.name for field in fields(kind)} - SECTIONS:
        assert any(f"`{name}`" in cell for cell in first_cells), name


@pytest.mark.parametrize("kind", [Inversion, Segmentation, PatchSettings, Architecture])
def test_defaults_are_told(kind, rows):
    """Numbers in the row of a key, in the cell of defaults."""
    for field in fields(kind):
        if not isinstance(field.default, int | float) or isinstance(field.default, bool):
            continue
        cells = [row.split("|")[2] for row in rows if f"`{field.name}`" in row.split("|")[1]]
        told = [float(n) for cell in cells for n in re.findall(r"[\d.]+(?:e-?\d+)?", cell)]
        assert field.default in told, field.name


@pytest.mark.parametrize("names", [TASKS, LOSSES, SAMPLINGS, DENOISERS])
def test_every_choice_is_told(names, rows):
    for name in names:
        assert any(f"`{name}`" in row for row in rows), name
