"""The Boutiques descriptor is that of the present command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "docker"
DESCRIPTOR = json.loads((FOLDER / "boutiques.json").read_text())


def test_descriptor_is_current():
    """Else: ``python docker/boutiques.py > docker/boutiques.json``."""
    script = [sys.executable, str(FOLDER / "boutiques.py")]
    written = subprocess.run(script, capture_output=True, text=True, check=True)
    assert json.loads(written.stdout) == DESCRIPTOR


def test_every_input_is_on_the_command_line_once():
    keys = [each["value-key"] for each in DESCRIPTOR["inputs"]]
    assert DESCRIPTOR["command-line"].split() == ["isdu-bids", *keys]
    assert len(set(keys)) == len(keys)
