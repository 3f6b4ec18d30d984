from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from isdu_bids.background.registry import BACKGROUND
from isdu_bids.background.registry import DEFAULT as DEFAULT_BACKGROUND
from isdu_bids.cli.app import recorded
from isdu_bids.cli.parser import REFERENCES, RELAXATIONS, parse_options
from isdu_bids.errors import UsageError
from isdu_bids.files import to_toml
from isdu_bids.inversion.referencing import REFERENCES as IMPLEMENTED_REFERENCES
from isdu_bids.inversion.registry import DEFAULT as DEFAULT_INVERSION
from isdu_bids.inversion.registry import INVERSION
from isdu_bids.masking.masks import MASKS
from isdu_bids.networks.weights import DEFAULT_WEIGHTS
from isdu_bids.phase.combination import COMBINATION
from isdu_bids.phase.relaxation import RELAXATION
from isdu_bids.phase.unwrapping import UNWRAPPING
from isdu_bids.settings import Settings

BASE = ["in", "out", "participant"]
HEAVY = ("torch", "nipype", "bids", "matplotlib", "numba", "scipy", "skimage")


@pytest.mark.parametrize("program", ["app", "toolbox"])
def test_help_imports_nothing_heavy(program):
    code = (
        f"import sys; from isdu_bids.cli.{program} import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        f"print('HEAVY', [m for m in {HEAVY} if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "usage: isdu-" in result.stdout
    assert result.stdout.splitlines()[-1] == "HEAVY []"


@pytest.mark.parametrize(
    "registry", [BACKGROUND, INVERSION, MASKS, COMBINATION, UNWRAPPING], ids=lambda r: r.stage
)
def test_every_method_of_every_registry_can_be_loaded(registry):
    for name, method in registry.items():
        assert callable(method.function), name
        assert method.description
        assert method.reference, name


def test_defaults_agree_with_the_stages():
    default = Settings()
    assert default.background == DEFAULT_BACKGROUND
    assert default.inversion == DEFAULT_INVERSION
    assert default.weights == DEFAULT_WEIGHTS
    assert default.unwrapping in UNWRAPPING
    assert default.combination in COMBINATION
    assert default.mask in MASKS
    assert REFERENCES == IMPLEMENTED_REFERENCES
    assert ("auto", *RELAXATION) == RELAXATIONS


@pytest.mark.parametrize(
    ("option", "gigabytes"),
    [("8000", 8.0), ("8G", 8.0), ("500M", 0.5), ("1.5 GB", 1.5), ("1T", 1e3)],
)
def test_memory(option, gigabytes):
    assert parse_options([*BASE, "--mem", option]).memory_gb == pytest.approx(gigabytes)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["in", "out"], "analysis_level"),
        (["in", "out", "everything"], "everything"),
        ([*BASE, "--mem", "much"], "much"),
        ([*BASE, "--nprocs", "0"], "0"),
        ([*BASE, "--device", "tpu"], "tpu"),
        ([*BASE, "--inversion", "magic"], "magic"),
        ([*BASE, "--config-file", "missing.toml"], "missing.toml"),
    ],
)
def test_wrong_usage_names_the_culprit(arguments, named):
    with pytest.raises(UsageError, match=named) as caught:
        parse_options(arguments)
    assert caught.value.exit_code == 64


def test_aliases():
    options = parse_options([*BASE, "--participant_label", "sub-01", "02", "--n_cpus", "3"])
    assert options.participant_label == ["sub-01", "02"]
    assert options.n_procs == 3


def test_command_line_wins_over_configuration_file(tmp_path):
    path = tmp_path / "earlier.toml"
    path.write_text(
        '[isdu_bids]\nversion = "0"\n[options]\ninversion = "tkd"\nbackground = "pdf"\n'
        'phase_range = [0.0, 4095.0]\nwork_dir = "there"\nbids_dir = "elsewhere"\n'
    )
    options = parse_options([*BASE, "--config-file", str(path), "--background", "vsharp"])
    assert (options.inversion, options.background) == ("tkd", "vsharp")
    assert options.phase_range == [0.0, 4095.0]
    assert options.work_dir == Path("there").absolute()
    assert options.bids_dir == Path("in").absolute()


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ('invresion = "tkd"', "invresion"),
        ('inversion = "isdo"', "isdo"),
        ('offset = "bipola"', "bipola"),
        ("n_procs = -3", "-3"),
        ('phase_range = [1.0, "x"]', "x"),
    ],
)
def test_configuration_file_is_checked_like_the_command_line(tmp_path, line, named):
    path = tmp_path / "typo.toml"
    path.write_text(f"[options]\n{line}\n")
    with pytest.raises(UsageError, match=named):
        parse_options([*BASE, "--config-file", str(path)])


def test_a_recorded_run_can_be_parsed_again(tmp_path):
    call = [*BASE, "--mem", "6G", "--two-pass", "-vv", "--participant-label", "01", "02",
            "--b0-direction", "0", "0.1", "1", "--device", "cpu"]  # fmt: skip
    options = parse_options(call)
    path = tmp_path / "isdu-bids.toml"
    path.write_text(to_toml({"options": recorded(options)}))
    again = parse_options([*BASE, "--config-file", str(path)])
    assert recorded(again) == recorded(options)


def test_uncertainty_of_two_passes_is_refused():
    with pytest.raises(UsageError, match="--two-pass"):
        parse_options([*BASE, "--uncertainty", "--two-pass"])
