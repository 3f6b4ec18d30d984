#!/usr/bin/env bash
# Set up an environment and run every check: style, types, import direction, tests.
set -euo pipefail
cd "$(dirname "$0")/.."
python3.11 -m venv .venv
.venv/bin/pip install -q -c constraints.txt -e '.[test]'
PATH="$PWD/.venv/bin:$PATH"
ruff check .
ruff format --check .
mypy
lint-imports
hadolint Dockerfile
pytest
