"""``isdu-qsm``: tools beside the BIDS App. Heavy modules are imported when they are needed."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from isdu_bids import __version__
from isdu_bids.cli.parser import Parser, add_network_options, device_name, positive
from isdu_bids.errors import IsduError
from isdu_bids.evaluation.registry import DEFAULT as DEFAULT_FAMILIES
from isdu_bids.evaluation.registry import FAMILIES
from isdu_bids.inversion.registry import DEFAULT as DEFAULT_INVERSION
from isdu_bids.inversion.registry import INVERSION
from isdu_bids.segmentation.choices import NETWORKS
from isdu_bids.units import FIELD_UNITS

#: What `argparse.ArgumentParser.add_subparsers` returns.
Commands: TypeAlias = "argparse._SubParsersAction[Parser]"


def build_parser() -> Parser:
    """Return the parser of ``isdu-qsm``."""
    parser = Parser(prog="isdu-qsm", description="Tools for quantitative susceptibility mapping.")
    parser.add_argument("--version", action="version", version=f"isdu-qsm {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=Parser)
    for add in (
        _add_demo,
        _add_simulate,
        _add_invert,
        _add_segment,
        _add_regions,
        _add_evaluate,
        _add_train,
        _add_weights,
    ):
        add(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a tool and return its exit code."""
    try:
        options = build_parser().parse_args(arguments)
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
        options.action(options)
    except IsduError as error:
        print(f"isdu-qsm: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _add_demo(commands: Commands) -> None:
    demo = commands.add_parser("demo", help="simulate a head, run isdu-bids on it, compare")
    demo.add_argument(
        "folder",
        type=Path,
        nargs="?",
        default=Path("isdu-demo"),
        help="where to write (default: %(default)s)",
    )
    demo.add_argument("--seed", type=int, default=0, help="of the simulation")
    demo.set_defaults(action=_demo)


def _demo(options: argparse.Namespace) -> None:
    from isdu_bids.cli.demo import run_demo

    run_demo(options.folder, options.seed)


def _add_simulate(commands: Commands) -> None:
    simulate = commands.add_parser(
        "simulate", help="write simulated scans of label maps as a BIDS dataset with its truth"
    )
    simulate.add_argument(
        "labels",
        type=Path,
        nargs="+",
        metavar="LABELS",
        help="label maps of whole heads (NIfTI, FreeSurfer labels, air 0), one subject each",
    )
    simulate.add_argument("-o", "--output", type=Path, required=True, help="new folder")
    simulate.add_argument("--subjects", type=int, metavar="N", help="(default: one per label map)")
    simulate.add_argument(
        "--voxel-size",
        type=float,
        nargs="+",
        metavar="MM",
        help="one or three edge lengths (default: those of the label map)",
    )
    tilt = simulate.add_mutually_exclusive_group()
    tilt.add_argument(
        "--b0-tilt", type=float, default=0.0, metavar="DEG", help="of the slices, about left-right"
    )
    tilt.add_argument(
        "--b0-direction",
        type=float,
        nargs=3,
        metavar=("X", "Y", "Z"),
        help="B0 along the voxel axes (right, anterior, superior)",
    )
    simulate.add_argument(
        "--echo-times",
        type=float,
        nargs="+",
        default=(0.004, 0.010, 0.016, 0.022),
        metavar="S",
        help="in seconds (default: %(default)s)",
    )
    simulate.add_argument("--field-strength", type=float, default=3.0, metavar="T")
    simulate.add_argument(
        "--noise",
        type=float,
        default=1.25,
        metavar="PERCENT",
        help="standard deviation relative to grey matter at echo time 0 (default: %(default)s)",
    )
    simulate.add_argument("--seed", type=int, default=0)
    simulate.set_defaults(action=_simulate)


def _simulate(options: argparse.Namespace) -> None:
    from math import cos, radians, sin

    from isdu_bids.cli.simulate import run_simulation

    tilt = radians(options.b0_tilt)
    run_simulation(
        options.labels,
        options.output,
        n_subjects=options.subjects,
        voxel_mm=options.voxel_size,
        b0_direction=options.b0_direction or (0.0, sin(tilt), cos(tilt)),
        echo_times_s=options.echo_times,
        field_strength_t=options.field_strength,
        noise_percent=options.noise,
        seed=options.seed,
    )


def _add_invert(commands: Commands) -> None:
    invert = commands.add_parser("invert", help="compute susceptibility from a local field")
    invert.add_argument("field", type=Path, help="local field (NIfTI)")
    invert.add_argument("-m", "--mask", type=Path, required=True, help="where it is valid")
    invert.add_argument("-o", "--output", type=Path, required=True, help="map to write, in ppm")
    invert.add_argument("--unit", choices=FIELD_UNITS, default="ppm", help="of the field")
    invert.add_argument("--field-strength", type=float, metavar="T", help="for hz and rad")
    invert.add_argument("--echo-time", type=float, metavar="S", help="for rad")
    invert.add_argument(
        "--b0-direction",
        type=float,
        nargs=3,
        metavar=("X", "Y", "Z"),
        help="B0 along the voxel axes (default: from the affine)",
    )
    invert.add_argument("--method", choices=INVERSION, default=DEFAULT_INVERSION)
    add_network_options(invert)
    invert.add_argument("--device", type=device_name, default="auto")
    invert.set_defaults(action=_invert)


def _invert(options: argparse.Namespace) -> None:
    from isdu_bids.cli.invert import run_inversion

    print(run_inversion(options))


def _add_segment(commands: Commands) -> None:
    segment = commands.add_parser("segment", help="label the regions of an image of any contrast")
    segment.add_argument("image", type=Path, help="one volume (NIfTI)")
    segment.add_argument(
        "output", type=Path, metavar="OUT_DSEG.nii.gz", help="labels to write, on the same grid"
    )
    segment.add_argument(
        "--network",
        choices=NETWORKS,
        default="synthseg",
        help="small: the preliminary one of this package (default: %(default)s)",
    )
    segment.add_argument(
        "--synthseg-weights",
        type=Path,
        metavar="PATH",
        help="SynthSeg's official .h5 file or its folder (default: $FREESURFER_HOME/models)",
    )
    segment.add_argument(
        "--parcellation",
        action="store_true",
        help="divide the cortex, by SynthSeg's weights for that",
    )
    segment.add_argument(
        "--no-flip",
        dest="flip",
        action="store_false",
        help="do not average with the mirrored image: half the time, a little worse",
    )
    segment.add_argument("--device", type=device_name, default="auto")
    segment.set_defaults(action=_segment)


def _segment(options: argparse.Namespace) -> None:
    from isdu_bids.cli.segment import run_segmentation

    print(run_segmentation(options))


def _add_regions(commands: Commands) -> None:
    regions = commands.add_parser("regions", help="statistics of a map per anatomical region")
    regions.add_argument("chi", type=Path, help="susceptibility map in ppm (NIfTI)")
    regions.add_argument("dseg", type=Path, help="labels on the same grid (NIfTI)")
    regions.add_argument("-m", "--mask", type=Path, help="(default: where the map is not zero)")
    regions.add_argument("--r2star", type=Path, help="map of R2* in 1/s on the same grid")
    regions.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="TSV",
        help="table to write, with a JSON dictionary beside it (default: print the table)",
    )
    regions.set_defaults(action=_regions)


def _regions(options: argparse.Namespace) -> None:
    from isdu_bids.cli.regions import run_regions

    print(run_regions(options))


def _add_evaluate(commands: Commands) -> None:
    evaluate = commands.add_parser(
        "evaluate", help="compare maps of several methods with the truth"
    )
    evaluate.add_argument(
        "maps",
        type=Path,
        metavar="MAPS.tsv",
        help="columns subject, method, map, truth, mask and optionally dseg (files, relative to "
        "the table); see docs/evaluation.md",
    )
    evaluate.add_argument("-o", "--output", type=Path, required=True, help="folder for the results")
    evaluate.add_argument(
        "--family",
        nargs="+",
        choices=FAMILIES,
        default=DEFAULT_FAMILIES,
        help=f"of metrics (default: {' '.join(DEFAULT_FAMILIES)}; with dseg also regions)",
    )
    evaluate.add_argument(
        "--baseline", metavar="METHOD", help="tested against all others (default: the first)"
    )
    evaluate.add_argument(
        "--labels-table", type=Path, metavar="LUT.tsv", help="columns index, name of dseg labels"
    )
    evaluate.set_defaults(action=_evaluate)


def _evaluate(options: argparse.Namespace) -> None:
    from isdu_bids.cli.evaluate import run_evaluation

    print(
        run_evaluation(
            options.maps,
            options.output,
            families=options.family,
            baseline=options.baseline,
            labels_table=options.labels_table,
        )
    )


def _add_train(commands: Commands) -> None:
    train = commands.add_parser("train", help="train a network on label maps of heads")
    train.add_argument(
        "config", type=Path, help="TOML file, see docs/training.md and docs/segmentation.md"
    )
    train.add_argument(
        "--heads",
        type=Path,
        nargs="+",
        required=True,
        metavar="LABELS",
        help="label maps (NIfTI, 1 mm, FreeSurfer labels) to train on",
    )
    train.add_argument("--validation-heads", type=Path, nargs="+", required=True, metavar="LABELS")
    train.add_argument("-o", "--output", type=Path, required=True, help="folder; resumed if there")
    train.add_argument(
        "--warm-start",
        type=Path,
        metavar="WEIGHTS",
        help="K = 1 weights copied into every iteration",
    )
    train.add_argument("--device", type=device_name, default="auto")
    train.add_argument(
        "--dry-run", action="store_true", help="print parameters, FLOP, memory and projected hours"
    )
    train.set_defaults(action=_train)


def _train(options: argparse.Namespace) -> None:
    from isdu_bids.cli.train import run_training
    from isdu_bids.training.distributed import is_first, joined_processes

    with joined_processes(options.device) as device:
        answer = run_training(
            options.config,
            options.heads,
            options.validation_heads,
            options.output,
            device=device,
            warm_start=options.warm_start,
            dry_run=options.dry_run,
        )
        if is_first():
            print(answer)


def _add_weights(commands: Commands) -> None:
    weights = commands.add_parser("weights", help="list, add and verify weights of the network")
    verbs = weights.add_subparsers(dest="verb", required=True, parser_class=Parser)
    verbs.add_parser("list", help="names, sizes, SHA-256").set_defaults(action=_weights)
    add = verbs.add_parser("add", help="make a file known by name, for --weights NAME")
    add.add_argument("file", type=Path, help="own safetensors or a published checkpoint")
    add.add_argument("--name", help="(default: that of the file)")
    verify = verbs.add_parser("verify", help="compare SHA-256 with the record, and try them")
    verify.add_argument("names", nargs="*", metavar="NAME|PATH", help="(default: all known)")
    for verb in (add, verify):
        verb.add_argument(
            "--iterations", type=positive, metavar="K", help="where the file lacks it"
        )
        verb.set_defaults(action=_weights)


def _weights(options: argparse.Namespace) -> None:
    from isdu_bids.cli import weights

    {"list": weights.list_weights, "add": weights.add, "verify": weights.verify}[options.verb](
        options
    )


if __name__ == "__main__":
    sys.exit(main())
