"""Describe ``isdu-bids`` for Boutiques, from its parser.

python docker/boutiques.py > docker/boutiques.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from isdu_bids import __version__
from isdu_bids.cli.parser import build_parser


def descriptor() -> dict[str, Any]:
    """Content of ``boutiques.json``."""
    parser = build_parser()
    inputs = [
        boutiques_input(action)
        for action in parser._actions
        if action.help != argparse.SUPPRESS and action.dest not in ("help", "version")
    ]
    return {
        "name": parser.prog,
        "description": parser.description,
        "tool-version": __version__,
        "schema-version": "0.5",
        "command-line": " ".join([parser.prog, *(each["value-key"] for each in inputs)]),
        "container-image": {
            "type": "docker",
            "image": f"isdu-bids:{__version__}",
            "entrypoint": True,
        },
        "inputs": inputs,
        "output-files": [
            {
                "id": "results",
                "name": "Derivative dataset",
                "description": "Maps, masks, reports and methods text",
                "path-template": "[OUTPUT_DIR]",
            }
        ],
        "tags": {"domain": ["neuroinformatics", "bids", "mri", "qsm"]},
    }


def boutiques_input(action: argparse.Action) -> dict[str, Any]:
    """Describe one argument. Defaults are left to the app, as some depend on the machine."""
    described: dict[str, Any] = {
        "id": action.dest,
        "name": action.dest.replace("_", " "),
        "description": (action.help or "") % {**vars(action), "default": "set by the app"},
        "type": boutiques_type(action),
        "value-key": f"[{action.dest.upper()}]",
        "optional": not action.required,
    }
    if action.option_strings:
        described["command-line-flag"] = next(
            flag for flag in action.option_strings if flag.startswith("--")
        )
    if action.choices:
        described["value-choices"] = list(action.choices)
    if action.type is not None and described["type"] == "Number":
        described["integer"] = action.type is not float
    if action.nargs == "+":
        described["list"] = True
    elif isinstance(action.nargs, int) and action.nargs:
        described |= {
            "list": True,
            "min-list-entries": action.nargs,
            "max-list-entries": action.nargs,
        }
    return described


def boutiques_type(action: argparse.Action) -> str:
    """Flag, Number, File or String; the output folder is none of the user's files."""
    if action.nargs == 0:
        return "Flag"
    if action.type is Path and action.dest != "output_dir":
        return "File"
    return "Number" if action.type is float or action.metavar in ("N", "K") else "String"


if __name__ == "__main__":
    print(json.dumps(descriptor(), indent=2, ensure_ascii=False))
