"""The tasks by name, and recipes in TOML: what ``isdu-qsm train`` can train."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from isdu_bids.files import read_toml
from isdu_bids.training.inversion import Inversion
from isdu_bids.training.recipe import build, pop_choice
from isdu_bids.training.segmentation import Segmentation
from isdu_bids.training.task import Task

#: By the recipe's key ``task``; the first is the default.
TASKS: Mapping[str, type[Task[Any, Any]]] = {
    "inversion": Inversion,
    "segmentation": Segmentation,
}


def load_task(path: Path) -> Task[Any, Any]:
    """Read a recipe.

    Raises
    ------
    UsageError
        For a missing file, broken TOML, an unknown key or a value that makes no sense.
    """
    return parse_task(read_toml(path), str(path))


def parse_task(content: Mapping[str, Any], origin: str) -> Task[Any, Any]:
    """Task of the content of a TOML file; ``origin`` is named in errors."""
    content = dict(content)
    kind: type[Task[Any, Any]] = pop_choice(content, "task", TASKS, origin)
    sections = {
        name: build(section, content.pop(name, {}), f"{origin}: [{name}]")
        for name, section in kind.sections(content, origin).items()
    }
    return build(kind, {**content, **sections}, origin)
