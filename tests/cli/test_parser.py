from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from isdu_bids.cli.arguments import METHODS
from isdu_bids.cli.parser import parse_options
from isdu_bids.cli.toolbox import main as toolbox
from isdu_bids.errors import UsageError
from isdu_bids.files import to_toml

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


@pytest.mark.parametrize("name", METHODS)
def test_what_runs_by_default_is_offered(name):
    settings = parse_options(BASE).settings
    assert getattr(settings, name) == METHODS[name].default
    assert METHODS[name].default.name in METHODS[name].offered


def test_parameters_reach_the_settings():
    options = parse_options(
        [*BASE, "--background", "resharp:radius_mm=4:weight=1e-3", "--weights", "isdu_k2"]
    )
    assert options.settings.background.name == "resharp"
    assert options.settings.background.parameters == {"radius_mm": 4.0, "weight": 1e-3}
    assert options.settings.inversion.parameters == {"weights": "isdu_k2"}


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--inversion", "tkd:weight=1"], "tkd has no parameter 'weight'; it has: threshold"),
        (["--inversion", "tkd:threshold=low"], "threshold=low: expected a number"),
        (["--inversion", "tkd:threshold=-1"], "threshold=-1 is not allowed"),
        (["--inversion", "tkd:threshold=nan"], "threshold=nan is not allowed"),
        (["--inversion", "tkd:0.2"], "write tkd:PARAMETER=VALUE"),
        (["--inversion", "isdu:grid=round"], "known are auto, native"),
        (["--inversion", "isdu:crop=maybe"], "expected true or false"),
        (["--inversion", "tkd", "--weights", "isdu_k2"], "--weights is for --inversion isdu"),
        (["--inversion", "l2", "--grid", "native"], "--grid is for --inversion isdu"),
        (["--weights-iterations", "0"], "weights_iterations=0"),
        (["--synthstrip-weights", "x"], "--synthstrip-weights is for --mask synthstrip"),
        (["--segmentation", "none:weights=x"], "none has no parameter"),
    ],
)
def test_what_a_method_does_not_know_is_refused(arguments, named):
    with pytest.raises(UsageError, match=named) as caught:
        parse_options([*BASE, *arguments])
    assert caught.value.exit_code == 64


def test_every_method_and_parameter_is_listed(capsys):
    assert toolbox(["methods"]) == 0
    text = capsys.readouterr().out
    for name, registry in METHODS.items():
        assert f"--{name} (default: {registry.default})" in text
        for method in registry.values():
            assert f"  {method.name}: {method.description} [{method.reference}]" in text
            for parameter in method.parameters:
                assert f"    {parameter}  {parameter.help}" in text


@pytest.mark.parametrize(
    ("option", "gigabytes"),
    [("8000", 8.0), ("8G", 8.0), ("500M", 0.5), ("1.5 GB", 1.5), ("1T", 1e3)],
)
def test_memory(option, gigabytes):
    assert parse_options([*BASE, "--mem", option]).resources.memory_gb == pytest.approx(gigabytes)


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
    assert options.selection.participant_label == ("sub-01", "02")
    assert options.resources.n_procs == 3


def test_command_line_wins_over_configuration_file(tmp_path):
    path = tmp_path / "earlier.toml"
    path.write_text(
        '[isdu_bids]\nversion = "0"\n[options]\ninversion = "tkd"\nbackground = "pdf"\n'
        'phase_range = [0.0, 4095.0]\nwork_dir = "there"\nbids_dir = "elsewhere"\n'
    )
    options = parse_options([*BASE, "--config-file", str(path), "--background", "vsharp"])
    assert options.settings.inversion.name == "tkd"
    assert options.settings.background.name == "vsharp"
    assert options.settings.phase_range == (0.0, 4095.0)
    assert options.running.work_dir == Path("there").absolute()
    assert options.selection.bids_dir == Path("in").absolute()


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
            "--b0-direction", "0", "0.1", "1", "--device", "cpu", "--precision", "half",
            "--background", "vsharp:radii_mm=8,4,2"]  # fmt: skip
    options = parse_options(call)
    path = tmp_path / "isdu-bids.toml"
    path.write_text(to_toml({"options": options.record}))
    again = parse_options([*BASE, "--config-file", str(path)])
    assert again.record == options.record
    assert again.settings == options.settings


def test_uncertainty_of_two_passes_is_refused():
    with pytest.raises(UsageError, match="--two-pass"):
        parse_options([*BASE, "--uncertainty", "--two-pass"])


def test_default_work_folder_is_named_after_input_and_output():
    options = parse_options(["raw/one", "out/two", "participant"])
    assert options.running.work_dir == Path("work/one_two").absolute()
