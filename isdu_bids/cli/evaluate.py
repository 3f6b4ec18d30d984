"""``isdu-qsm evaluate``: maps of several methods against the truth, as tables and figures."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from isdu_bids.bids.tables import read_label_names, read_tsv
from isdu_bids.cli.arguments import Parser
from isdu_bids.errors import DataError, OutputError, UsageError
from isdu_bids.evaluation.figures import region_figure, save_figure, voxel_figure
from isdu_bids.evaluation.metrics import Volume, comparable
from isdu_bids.evaluation.regions import region_table
from isdu_bids.evaluation.registry import DEFAULT, FAMILIES
from isdu_bids.evaluation.tables import (
    SCORE_COLUMNS,
    method_by_metric,
    paired_t_tests,
    summarise,
    to_html,
    to_markdown,
)
from isdu_bids.files import write_text
from isdu_bids.images import check_same_grid, load_volume

COLUMNS = ("subject", "method", "map", "truth", "mask")
#: Voxels of each map that are drawn: enough for a density, little enough for many maps.
_DRAWN_VOXELS = 20_000


def add_arguments(parser: Parser) -> None:
    """Add what the command takes."""
    parser.add_argument(
        "maps",
        type=Path,
        metavar="MAPS.tsv",
        help="columns subject, method, map, truth, mask and optionally dseg (files, relative to "
        "the table); see docs/evaluation.md",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the results")
    parser.add_argument(
        "--family",
        nargs="+",
        choices=FAMILIES,
        default=DEFAULT,
        help=f"of metrics (default: {' '.join(DEFAULT)}; with dseg also regions)",
    )
    parser.add_argument(
        "--baseline", metavar="METHOD", help="tested against all others (default: the first)"
    )
    parser.add_argument(
        "--labels-table", type=Path, metavar="LUT.tsv", help="columns index, name of dseg labels"
    )


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    table = run_evaluation(
        options.maps,
        options.output,
        families=options.family,
        baseline=options.baseline,
        labels_table=options.labels_table,
    )
    print(table)


@dataclass(frozen=True)
class Case:
    """One map and what it is compared with: a row of the user's table."""

    subject: str
    method: str
    chi_ppm: Path
    truth_ppm: Path
    mask: Path
    dseg: Path | None

    def load(self) -> tuple[Volume, Volume, Volume, Volume | None]:
        """Map, truth, mask and labels, all on one grid.

        Raises
        ------
        DataError
            If a file cannot be read, or two files lie on different grids.
        """
        check_same_grid([p for p in (self.chi_ppm, self.truth_ppm, self.mask, self.dseg) if p])
        chi, truth, mask = (load_volume(p).data for p in (self.chi_ppm, self.truth_ppm, self.mask))
        labels = None
        if self.dseg is not None:
            labels = np.rint(load_volume(self.dseg).data).astype(np.int32)
        return chi, truth, mask, labels


def run_evaluation(
    maps: Path,
    folder: Path,
    *,
    families: Sequence[str],
    baseline: str | None = None,
    labels_table: Path | None = None,
) -> str:
    """Score every map of a table, compare the methods, and write tables and figures to a folder.

    Parameters
    ----------
    maps
        TSV with the columns ``subject, method, map, truth, mask`` and optionally ``dseg``; paths
        relative to the TSV.
    folder
        Receives ``scores.tsv, summary.{tsv,md,html}, ttests.tsv, voxels.png`` and, with labels,
        ``rois.tsv, rois.png``.
    families
        Names of `FAMILIES`.
    baseline
        Method that the others are tested against; the first of the table by default.
    labels_table
        TSV with the columns ``index, name``.

    Returns
    -------
    str
        The summary as Markdown.
    """
    cases = read_cases(maps)
    methods = list(dict.fromkeys(case.method for case in cases))
    baseline = baseline or methods[0]
    if baseline not in methods:
        raise UsageError(f"--baseline {baseline!r} is no method of {maps}: {', '.join(methods)}")
    names = read_label_names(labels_table) if labels_table else {}
    _make_folder(folder)
    if any(case.dseg for case in cases):
        families = [*families, "regions"]
    scores, regions = [], []
    voxels: dict[str, list[Volume]] = {method: [] for method in methods}
    for case in cases:
        chi, truth, mask, labels = case.load()
        volumes = {"chi_ppm": chi, "truth_ppm": truth, "mask": mask, "labels": labels}
        try:
            for family in dict.fromkeys(families):
                values = FAMILIES[family].run(volumes)
                scores += [(case.subject, case.method, family, *item) for item in values.items()]
            if labels is not None:
                table = region_table(chi, truth, mask, labels, names)
                regions.append(table.assign(subject=case.subject, method=case.method))
            voxels[case.method].append(_drawn_voxels(chi, truth, mask))
        except DataError as error:
            raise DataError(f"{case.chi_ppm} against {case.truth_ppm}: {error}") from error
    score_table = pd.DataFrame(scores, columns=SCORE_COLUMNS)
    region_tables = pd.concat(regions) if regions else None
    return _write(folder, score_table, region_tables, voxels, baseline)


def read_cases(maps: Path) -> list[Case]:
    """Read the table of maps.

    Raises
    ------
    DataError
        If the file is missing, empty or no TSV, lacks a value, or names a method twice for one
        subject.
    """
    cases: dict[tuple[str, str], Case] = {}
    for row in read_tsv(maps, COLUMNS):
        key = (row["subject"], row["method"])
        if key in cases:
            raise DataError(
                f"{maps} has two maps of subject {key[0]!r}, method {key[1]!r}; name sessions and "
                "runs in the subject"
            )
        chi, truth, mask = (maps.parent / row[name] for name in ("map", "truth", "mask"))
        dseg = row.get("dseg") or "n/a"
        cases[key] = Case(*key, chi, truth, mask, None if dseg == "n/a" else maps.parent / dseg)
    return list(cases.values())


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made ({error}); choose another --output") from error


def _drawn_voxels(chi: Volume, truth: Volume, mask: Volume) -> Volume:
    """Map and truth at a random sample of the mask's voxels, shape ``(2, n)``."""
    chi, truth, inside = comparable(chi, truth, mask)
    values = np.stack([chi[inside], truth[inside]])
    n = min(_DRAWN_VOXELS, values.shape[1])
    return np.random.default_rng(0).choice(values, n, replace=False, axis=1)


def _write(
    folder: Path,
    scores: pd.DataFrame,
    regions: pd.DataFrame | None,
    voxels: dict[str, list[Volume]],
    baseline: str,
) -> str:
    def tsv(table: pd.DataFrame, name: str) -> None:
        text = table.to_csv(None, sep="\t", index=False, na_rep="n/a", float_format="%.6g")
        write_text(folder / name, text)

    summary, tests = summarise(scores), paired_t_tests(scores, baseline)
    tsv(scores, "scores.tsv")
    tsv(summary, "summary.tsv")
    tsv(tests, "ttests.tsv")
    figures = ["voxels.png"]
    pairs = {method: np.concatenate(drawn, axis=1) for method, drawn in voxels.items()}
    save_figure(voxel_figure(pairs), folder / "voxels.png")
    if regions is not None:
        first = ["subject", "method"]
        tsv(regions[first + [name for name in regions if name not in first]], "rois.tsv")
        save_figure(region_figure(regions), folder / "rois.png")
        figures.append("rois.png")
    overview = method_by_metric(summary)
    markdown = to_markdown(overview)
    write_text(folder / "summary.md", markdown)
    tables = {
        "Mean ± SD over subjects": overview,
        f"Paired two-tailed t-tests against {baseline}, not corrected for their number": tests,
    }
    page = to_html("Susceptibility maps", tables, figures)
    write_text(folder / "summary.html", page)
    return markdown
