import pytest

from isdu_bids.errors import DataError, IsduError
from isdu_bids.workflows.crashes import error_class


@pytest.mark.parametrize(
    ("last_line", "expected"),
    [
        ("isdu_bids.errors.DataError: echo-2.nii holds the same phase as echo-1.nii", DataError),
        ("ValueError: shapes differ", IsduError),
    ],
)
def test_a_refusal_in_a_step_keeps_its_class(tmp_path, last_line, expected):
    crash = tmp_path / "crash-load.txt"
    crash.write_text(f"Node: x\nTraceback (most recent call last):\n  ...\n{last_line}\n")
    assert error_class(f"load failed: no such thing (details: {crash})") is expected
    assert error_class("load failed: no such thing (details: nowhere.txt)") is IsduError
