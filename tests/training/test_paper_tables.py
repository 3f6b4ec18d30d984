"""The tables of the article, as benchmarks/paper makes them: all parse, some are made small."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pandas as pd
import pytest

from isdu_bids.files import read_toml
from isdu_bids.networks.unrolled import ISDUQSMNet
from isdu_bids.networks.weights import load_weights
from isdu_bids.training.patch_set import PatchSetSettings
from isdu_bids.training.tasks import load_task, parse_task

FOLDER = Path(__file__).parents[2] / "benchmarks" / "paper"
TABLES = sorted(path for path in FOLDER.glob("*.toml") if not path.stem.startswith("recipe"))


@pytest.fixture(scope="module")
def runner():
    spec = importlib.util.spec_from_file_location("paper_run", FOLDER / "run.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["paper_run"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["paper_run"]


@pytest.fixture(scope="module")
def output(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("paper")


def test_the_recipe_is_that_of_the_paper():
    config = load_task(FOLDER / "recipe.toml")
    assert (config.loss, config.batch_size, config.learning_rate) == ("paper", 2, 1e-4)
    assert (config.warmup_steps, config.decay_steps) == (0, 0)
    assert config.steps == 45 * config.subset_batches
    assert config.patches == PatchSetSettings()
    assert config.architecture.dropout == 0.5
    network = ISDUQSMNet(config.architecture)
    assert sum(p.numel() for p in network.parameters()) == 1_788_932  # 1.789 M


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_every_variant_of_every_table_makes_a_network(runner, path):
    table = read_toml(path)
    rows = runner.variants(table, read_toml(runner.RECIPE))
    names = [row.name for row in rows]
    assert len(set(names)) == len(names) > 1
    assert table["baseline"] in names
    for row in rows:
        architecture = parse_task(row.config, row.name).architecture
        assert architecture.build_denoiser(0) is not None


def test_networks_start_from_one_shared_first_stage(runner, output):
    """SW and RS at K = 4: three runs in all, and each has its iterates scored."""
    page = runner.main([str(FOLDER / "figure_02.toml"), "-o", str(output), "--toy"])
    weights = [load_weights(path).network for path in output.glob("runs/*/best.safetensors")]
    kinds = sorted((w.architecture.iterations, w.architecture.shared) for w in weights)
    assert kinds == [(1, False), (4, False), (4, True)]
    scores = pd.read_csv(output / "figure_02.tsv", sep="\t")
    assert len(scores) == 2 * 2 * 8  # methods, heads, iterates
    assert scores["value"].between(0, 200).all()
    text = page.read_text()
    assert "k = 4, consistent" in text
    assert "Paired t-tests against RS" in text


def test_tables_share_runs_and_score_classical_inversions_too(runner, output):
    """Table 12 adds nothing to what Figure 2 has trained."""
    before = {path: path.stat().st_mtime_ns for path in output.glob("runs/*/best.safetensors")}
    runner.main([str(FOLDER / "table_12.toml"), "-o", str(output), "--toy"])
    after = {path: path.stat().st_mtime_ns for path in output.glob("runs/*/best.safetensors")}
    assert after == before
    scores = pd.read_csv(output / "table_12.tsv", sep="\t")
    tkd = scores[scores["method"] == "TKD"].groupby("metric")["value"].mean()
    assert tkd["globus pallidus: mean_ppm"] == pytest.approx(
        tkd["globus pallidus: truth_mean_ppm"], abs=0.03
    )
    assert tkd["globus pallidus: mean_ppm"] > tkd["left white matter: mean_ppm"] + 0.05


def test_costs_are_counted(runner, output):
    runner.main([str(FOLDER / "table_09.toml"), "-o", str(output), "--toy"])
    scores = pd.read_csv(output / "table_09.tsv", sep="\t")
    values = scores.groupby(["method", "metric"])["value"].mean()
    for metric in ("parameters", "gflop_per_step"):
        ratio = values["ISDU, K = 4", metric] / values["ISDU, K = 1", metric]
        assert ratio == pytest.approx(4, rel=0.02)
    assert (values.xs("inference_s", level="metric") > 0).all()
