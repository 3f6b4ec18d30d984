"""The table of faults, `docs/faults.md`, comes from the tests: ``python tests/faults.py``.

Mark a test, or one of its ``pytest.param(..., marks=fault(...))``, with literal arguments; the
parameters may stand in a constant of the module that the decorator names::

    @fault("echo time in milliseconds", "refused: file, EchoTime, divide by 1000", 65)
    def test_echo_times_in_milliseconds_are_refused(): ...

Nothing is imported to write the table: the decorators are read from the source.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
TABLE = TESTS.parent / "docs/faults.md"

HEAD = """\
# Faults

What can go wrong with the data, the machine or the command, what the app does about it, and the
test that shows it. Exit code 65 means that the named scan is not processed while all others are;
0 together with *flagged* means that a map is written with the flag in its sidecar and report.
This table is written from the tests by `python tests/faults.py`; edit it there.

| fault | what happens | exit code | what was lost | test |
|---|---|---|---|---|
"""


def fault(
    what: str, happens: str = "refused", exit_code: int = 65, lost: str = "nothing"
) -> pytest.MarkDecorator:
    """Mark the test that shows what the app does about one fault."""
    return pytest.mark.fault(what, happens, exit_code, lost)


def rows() -> Iterator[tuple[str, str, int, str, str]]:
    """Arguments of every `fault`, completed by its defaults, and the test that it decorates."""
    for path in sorted(TESTS.rglob("test_*.py")):
        module = ast.parse(path.read_text(encoding="utf-8"))
        constants = {
            target.id: node.value
            for node in module.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for test in (node for node in module.body if isinstance(node, ast.FunctionDef)):
            marks = [node for mark in test.decorator_list for node in ast.walk(mark)]
            named = [constants.get(node.id) for node in marks if isinstance(node, ast.Name)]
            for call in [*marks, *(node for value in named if value for node in ast.walk(value))]:
                if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "fault":
                    positional = [ast.literal_eval(value) for value in call.args]
                    keywords = {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
                    arguments = fault(*positional, **keywords).args
                    yield (*arguments, f"{path.relative_to(TESTS).as_posix()}::{test.name}")


def table() -> str:
    """Text of `docs/faults.md`."""
    lines = [" | ".join(map(str, row[:-1])) + f" | `{row[-1]}`" for row in sorted(rows())]
    return HEAD + "".join(f"| {line} |\n" for line in lines)


if __name__ == "__main__":
    TABLE.write_text(table(), encoding="utf-8")
