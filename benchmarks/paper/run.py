r"""Train and score the variants of one table of the ISDU-QSMNet article on simulated heads.

    python benchmarks/paper/run.py benchmarks/paper/table_05.toml \
        --heads LABELS... --validation-heads LABELS... -o OUT [--steps N] [--device cuda] [--toy]

A table names its variants as overrides of ``recipe.toml``, or of ``--recipe recipe_small.toml``,
which a CPU trains in minutes. Networks with K > 1 start from the K = 1 network of the same denoiser
and heads. Every run lies in ``OUT/runs`` under a name made from its configuration: tables share
runs, and an interrupted table goes on where it stopped. ``--steps`` gives every variant the same
budget. ``--toy`` shrinks all of it to seconds: it shows that a table can be made, and its numbers
mean nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from isdu_bids.cli.train import load_head
from isdu_bids.evaluation.paper import paper_scores
from isdu_bids.evaluation.regions import region_table
from isdu_bids.evaluation.tables import (
    SCORE_COLUMNS,
    method_by_metric,
    paired_t_tests,
    summarise,
    to_markdown,
)
from isdu_bids.files import read_toml
from isdu_bids.geometry import unit_vector
from isdu_bids.inversion.registry import INVERSION
from isdu_bids.inversion.result import Inverted
from isdu_bids.networks.weights import load_weights
from isdu_bids.physics.dipole import dipole_kernel
from isdu_bids.simulation.demo_head import demo_head
from isdu_bids.simulation.random_fields import derived_generator
from isdu_bids.simulation.sampling import resample_labels
from isdu_bids.simulation.whole_head import HeadScan, crop_to_brain, draw_head, scan_head
from isdu_bids.training.dry_run import measure_cost
from isdu_bids.training.tasks import parse_task
from isdu_bids.training.trainer import BEST_FILE, train

RECIPE = Path(__file__).with_name("recipe.toml")
MEASURES = ("scores", "iterates", "regions", "cost")
#: What --toy puts in place of the recipe's values.
TOY: dict[str, Any] = {
    "steps": 2, "save_every": 2, "batch_size": 1,
    "patches": {"size": 8, "strides": [8, 8, 8], "scans_per_head": 1},
    "architecture": {"features": 2},
}  # fmt: skip


@dataclass(frozen=True)
class Variant:
    """A row of a table: a network to train on the first ``n_heads`` heads, or an inversion."""

    name: str
    config: Mapping[str, Any]
    n_heads: int | None = None
    inversion: str = ""


@dataclass(frozen=True)
class TestScan:
    """A simulated scan of a validation head, with the labels on its grid."""

    test: str
    head: str
    scan: HeadScan
    labels: torch.Tensor


def variants(table: Mapping[str, Any], recipe: Mapping[str, Any]) -> list[Variant]:
    """Rows of a table; those of networks are made for each K in ``iterations``, if given."""
    rows = []
    for given in table["variant"]:
        overrides = dict(given)
        name, n_heads = overrides.pop("name"), overrides.pop("heads", None)
        inversion = overrides.pop("inversion", "")
        for k in [None] if inversion else table.get("iterations", [None]):
            config = merge(recipe, overrides)
            title = name
            if k is not None:
                config = merge(config, {"architecture": {"iterations": k}})
                title = f"{name}, K = {k}"
            rows.append(Variant(title, config, n_heads, inversion))
    return rows


def merge(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Nested dictionaries, the second over the first."""
    merged = dict(base)
    for key, value in overrides.items():
        nested = isinstance(value, Mapping)
        merged[key] = merge(merged.get(key, {}), value) if nested else value
    return merged


class Runs:
    """Trained networks by their configuration."""

    def __init__(
        self,
        folder: Path,
        heads: Sequence[torch.Tensor],
        validation_heads: Sequence[torch.Tensor],
        device: str,
    ) -> None:
        self.folder, self.heads, self.device = folder, list(heads), device
        self.validation_heads = validation_heads
        self.digests = [hashlib.sha256(head.numpy().tobytes()).hexdigest() for head in heads]

    def weights(self, variant: Variant) -> Path:
        """Best weights of a variant, trained if they are not there yet."""
        task = parse_task(variant.config, variant.name)
        first_stage = None
        if task.architecture.iterations > 1:
            single = {"iterations": 1, "shared": False}
            overrides = {"architecture": single, "subset_batches": 0}
            first = Variant(
                f"K = 1 for {variant.name}", merge(variant.config, overrides), variant.n_heads
            )
            first_stage = self.weights(first)
        heads = self.heads[: variant.n_heads]
        key = repr((task, self.digests[: variant.n_heads]))
        folder = self.folder / "runs" / hashlib.sha256(key.encode()).hexdigest()[:12]
        logging.info("%s: %s", variant.name, folder)
        train(
            task,
            heads,
            self.validation_heads,
            folder,
            device=self.device,
            warm_start=first_stage,
            scans=self.folder / "scans",
        )
        return folder / BEST_FILE


def test_scans(
    table: Mapping[str, Any], heads: Sequence[torch.Tensor], device: str
) -> Iterator[TestScan]:
    """Scan every validation head in every way that the table lists."""
    for test in table.get("test", [{"name": "axial, 1 mm"}]):
        size = tuple(map(float, test.get("voxel_size_mm", (1.0, 1.0, 1.0))))
        direction = unit_vector(test.get("b0_direction", (0.0, 0.0, 1.0)))
        for i, head in enumerate(heads, start=1):
            generator = derived_generator("test", test["name"], i, device=device)
            labels = crop_to_brain(resample_labels(head, (1.0, 1.0, 1.0), size)).to(device)
            chi, mask = draw_head(labels, size, generator)
            noise = test.get("max_noise_ppm", 0.004)
            scan = scan_head(chi, mask, size, direction, generator, max_noise_ppm=noise)
            yield TestScan(test["name"], f"head {i}", scan, labels)


def invert(variant: Variant, weights: Path | None, scan: HeadScan) -> torch.Tensor:
    """Susceptibility (ppm) of a scan by a trained variant or by a classical inversion."""
    options: dict[str, Any] = {"weights": str(weights)} if weights else {}
    result = INVERSION[variant.inversion or "isdu"](
        scan.field_ppm,
        scan.mask,
        voxel_size_mm=scan.voxel_size_mm,
        b0_direction=scan.b0_direction,
        **options,
    )
    return Inverted.of(result).chi_ppm


def measured(
    measure: str,
    variant: Variant,
    weights: Path | None,
    test: TestScan,
    regions: Mapping[str, Sequence[int]],
) -> dict[str, float]:
    """Numbers of one variant on one scan."""
    scan = test.scan
    if measure == "iterates":
        return iterate_errors(weights, scan) if weights else {}
    start = time.perf_counter()
    chi = invert(variant, weights, scan)
    if measure == "cost":
        return {"inference_s": time.perf_counter() - start}
    volumes = [volume.cpu().numpy() for volume in (chi, scan.chi_ppm, scan.mask)]
    if measure == "scores":
        return paper_scores(*volumes)
    numbered = torch.zeros_like(test.labels)
    for index, labels in enumerate(regions.values(), start=1):
        numbered[torch.isin(test.labels, torch.tensor(labels, device=numbered.device))] = index
    table = region_table(*volumes, numbered.cpu().numpy(), dict(enumerate(regions, start=1)))
    return {
        f"{row['name']}: {column}": float(row[column])
        for _, row in table.iterrows()
        for column in ("truth_mean_ppm", "mean_ppm", "pearson_r")
    }


@torch.inference_mode()
def iterate_errors(weights: Path, scan: HeadScan) -> dict[str, float]:
    """NRMSE (%) of what each denoiser proposes and of what data consistency makes of it."""
    network = load_weights(weights).network.to(scan.field_ppm.device)
    even = [slice(0, n // 2 * 2) for n in scan.mask.shape]
    field, mask, truth = (v[tuple(even)] for v in (scan.field_ppm, scan.mask, scan.chi_ppm))
    kernel = dipole_kernel(
        mask.shape,
        scan.voxel_size_mm,
        scan.b0_direction,
        dc_value=network.architecture.dc_value,
        device=field.device,
    )
    errors = {}
    iterates = network.iterate(field[None, None], mask[None, None].float(), kernel)
    for k, iterate in enumerate(iterates, start=1):
        for name in ("denoised", "consistent"):
            error = (getattr(iterate, name)[0, 0] - truth)[mask]
            errors[f"k = {k}, {name}"] = float(100 * error.norm() / truth[mask].norm())
    return errors


def training_cost(variant: Variant, runs: Runs) -> dict[str, float]:
    """Numbers of one variant that do not depend on a scan."""
    task = parse_task(variant.config, variant.name)
    cost = measure_cost(task, runs.heads, runs.folder / "scans", runs.device)
    return {
        "parameters": float(cost.parameters),
        "gflop_per_step": cost.flop_per_step / 1e9,
        "train_s_per_step": cost.seconds_per_step,
        "train_memory_gb": cost.memory_gb,
    }


def score(table: Mapping[str, Any], rows: Sequence[Variant], runs: Runs) -> pd.DataFrame:
    """Train and measure every variant; a long table, where ``family`` is the test."""
    measure = table.get("measure", "scores")
    if measure not in MEASURES:
        raise SystemExit(f"measure = {measure!r} is unknown; known are {', '.join(MEASURES)}")
    scans = list(test_scans(table, runs.validation_heads, runs.device))
    records = []
    for variant in rows:
        weights = None if variant.inversion else runs.weights(variant)
        for test in scans:
            values = measured(measure, variant, weights, test, table.get("regions", {}))
            records += [(test.head, variant.name, test.test, *item) for item in values.items()]
        if measure == "cost" and not variant.inversion:
            values = training_cost(variant, runs)
            records += [("all", variant.name, "training", *item) for item in values.items()]
    return pd.DataFrame(records, columns=SCORE_COLUMNS)


def shrunk(variant: Variant) -> Variant:
    subset = min(2, variant.config["subset_batches"])
    return replace(variant, config=merge(variant.config, {**TOY, "subset_batches": subset}))


def toy_heads() -> list[torch.Tensor]:
    return [
        demo_head((30, 36, 33), (6.0, 6.0, 6.0), torch.Generator().manual_seed(i)) for i in range(2)
    ]


def main(arguments: Sequence[str] | None = None) -> Path:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", type=Path)
    parser.add_argument("--heads", type=Path, nargs="+", default=[])
    parser.add_argument("--validation-heads", type=Path, nargs="+", default=[])
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--recipe", type=Path, default=RECIPE, help="TOML, in place of recipe.toml")
    parser.add_argument("--steps", type=int, help="the same for every variant")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--toy", action="store_true")
    options = parser.parse_args(arguments)
    if not options.toy and not (options.heads and options.validation_heads):
        parser.error("--heads and --validation-heads are needed, except with --toy")
    table, recipe = read_toml(options.table), read_toml(options.recipe)
    rows = variants(table, recipe)
    if options.toy:
        rows = [shrunk(row) for row in rows]
        heads = validation_heads = toy_heads()
    else:
        heads = [load_head(file) for file in options.heads]
        validation_heads = [load_head(file) for file in options.validation_heads]
    if options.steps:
        rows = [replace(row, config=merge(row.config, {"steps": options.steps})) for row in rows]
    scores = score(table, rows, Runs(options.output, heads, validation_heads, options.device))
    return write(table, scores, options.output / options.table.stem)


def write(table: Mapping[str, Any], scores: pd.DataFrame, stem: Path) -> Path:
    """Write ``<stem>.tsv`` (every number) and ``<stem>.md`` (table and tests), and print it."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    scores.to_csv(stem.with_suffix(".tsv"), sep="\t", index=False, float_format="%.6g")
    text = f"# {table['title']}\n\n{to_markdown(method_by_metric(summarise(scores)))}"
    methods = scores["method"].unique()
    if len(methods) > 1:
        tests = paired_t_tests(scores, table.get("baseline", methods[-1]))
        tests = tests[tests["n"] > 1].drop(columns="baseline").set_index("method")
        text += f"\nPaired t-tests against {table.get('baseline', methods[-1])}\n\n"
        text += to_markdown(tests.map(lambda v: f"{v:.4g}" if isinstance(v, float) else v))
    stem.with_suffix(".md").write_text(text)
    print(text)
    return stem.with_suffix(".md")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    main()
