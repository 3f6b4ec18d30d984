"""What the settings ask of a scan that it does not have."""

from __future__ import annotations

import pytest

from isdu_bids.bids.acquisition import Acquisition
from isdu_bids.cli.app import contradiction
from isdu_bids.cli.parser import parse_options
from isdu_bids.inversion.registry import INVERSION
from isdu_bids.registry import Method


def told(n_echoes: int, *options: str) -> str | None:
    times = tuple(0.005 * (i + 1) for i in range(n_echoes))
    scan = Acquisition("01", echo_times_s=times, field_strength_t=3.0)
    return contradiction(scan, parse_options(["in", "out", "participant", *options]).settings)


@pytest.mark.parametrize(
    ("option", "name", "needed"),
    [
        ("--reference", "csf", 3),
        ("--offset", "bipolar", 3),
        ("--offset", "monopolar", 2),
        ("--combination", "linear", 2),
        ("--combination", "nonlinear", 2),
    ],
)
def test_echoes_that_a_method_needs(option, name, needed):
    assert told(needed, option, name) is None
    message = told(needed - 1, option, name)
    assert message is not None
    assert f"{option} {name} needs {needed} echoes, the scan has {needed - 1}" in message


def test_a_single_echo_does_with_the_defaults():
    assert told(1) is None
    assert told(1, "--relaxation", "arlo") is None  # R2* is left out, as always


def test_an_inversion_that_takes_the_relaxation_needs_its_echoes(monkeypatch):
    method = Method("new", "math:sqrt", "new", "", inputs=("field_ppm", "mask", "r2star_per_s"))
    monkeypatch.setitem(INVERSION._methods, "new", method)
    assert "--inversion new needs 3 echoes" in (told(2, "--inversion", "new") or "")
    assert told(3, "--inversion", "new") is None
