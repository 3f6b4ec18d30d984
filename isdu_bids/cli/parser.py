"""Command line of the BIDS App; help is instant, as torch, Nipype and PyBIDS are not imported."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from pathlib import Path

from isdu_bids import __version__
from isdu_bids.cli.arguments import METHODS, Parser, add_method, chosen, device_name, positive
from isdu_bids.errors import UsageError
from isdu_bids.files import read_toml
from isdu_bids.phase.registry import SIGNS
from isdu_bids.registry import Choice
from isdu_bids.settings import Options, Resources, Running, Selection, Settings, from_options
from isdu_bids.template.spaces import NATIVE, TEMPLATES, OutputSpace, parse_spaces

LEVELS = ("participant", "group")

#: Options that belong to one call and are not taken over from a configuration file.
_NOT_FROM_FILE = {"bids_dir", "output_dir", "analysis_level", "config_file", "dry_run"}
#: Options that do not change the result of a run.
_NOT_RECORDED = {"notrack", "dry_run", "config_file", "reports_only"}

_EPILOG = """\
isdu-qsm methods lists the parameters of every method, with units, defaults and references; set them
as in --inversion tkd:threshold=0.1 or --background resharp:radius_mm=4:weight=1e-3

exit codes:
  0 success, 1 a scan failed, 16 the input fails validation, 18 nothing selected, 64 wrong usage,
  65 wrong data or metadata, 66 no input, 73 cannot write
"""


def build_parser() -> Parser:
    """Return the parser of ``isdu-bids``."""
    parser = Parser(
        prog="isdu-bids",
        description="Quantitative susceptibility mapping of a BIDS dataset with ISDU-QSMNet.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bids_dir", type=Path, help="root of the BIDS dataset")
    parser.add_argument("output_dir", type=Path, help="root of the derivative dataset to write")
    parser.add_argument(
        "analysis_level",
        choices=LEVELS,
        help="participant: process every scan; group: tables and a page over all processed scans",
    )
    parser.add_argument("--version", action="version", version=f"isdu-bids {__version__}")

    group = parser.add_argument_group("which scans")
    group.add_argument(
        "--participant-label",
        "--participant_label",
        nargs="+",
        metavar="LABEL",
        help="subjects, with or without sub- (default: all)",
    )
    group.add_argument(
        "--session-label",
        "--session_label",
        "--session-id",
        nargs="+",
        metavar="LABEL",
        help="sessions, with or without ses- (default: all)",
    )
    group.add_argument(
        "--bids-filter-file",
        type=Path,
        metavar="JSON",
        help='PyBIDS entities of the scans to take, e.g. {"megre": {"acquisition": "qsm"}}',
    )
    group.add_argument(
        "--bids-database-dir",
        type=Path,
        metavar="DIR",
        help="folder of a PyBIDS index, made there if absent",
    )
    group.add_argument(
        "--skip-bids-validation",
        "--skip_bids_validation",
        action="store_true",
        help="do not run the BIDS validator on the input",
    )
    group.add_argument(
        "-d",
        "--derivatives",
        nargs="+",
        default=[],
        metavar="[NAME=]PATH",
        help="derivative datasets with brain masks and segmentations to use",
    )
    group.add_argument(
        "--mask-pattern",
        metavar="GLOB",
        help="your own brain masks: a glob below the dataset or a derivative, with {subject}, "
        "{session}, {acquisition}, {run}",
    )

    group = parser.add_argument_group("methods")
    for name, registry in METHODS.items():
        add_method(group, f"--{name}", registry)
    group.add_argument(
        "--phase-sign",
        choices=SIGNS,
        default="auto",
        help="auto: turn a phase whose sign is clearly reversed (default: %(default)s)",
    )
    group.add_argument(
        "--two-pass",
        action="store_true",
        help="invert reliable voxels alone and fill in the others from a second pass",
    )
    group.add_argument(
        "--uncertainty",
        action="store_true",
        help="write a map of the standard deviation of the susceptibility",
    )
    group.add_argument(
        "--output-spaces",
        "--output_spaces",
        nargs="+",
        type=_output_space,
        default=[],
        metavar="SPACE",
        help="templates to bring the maps to as well, with the resolution if it is not 1 mm, e.g. "
        f"MNI152NLin2009cAsym:res-2; {NATIVE}: the grid of the scan only (default); known: "
        f'{", ".join(TEMPLATES)}; needs pip install "isdu-bids[template]" (docs/templates.md)',
    )
    group.add_argument(
        "--phase-range",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="stored values of one turn of phase, if they are not recognised",
    )
    group.add_argument(
        "--b0-direction",
        type=float,
        nargs=3,
        metavar=("X", "Y", "Z"),
        help="B0 along the voxel axes, where the affine is wrong",
    )

    group = parser.add_argument_group("resources")
    group.add_argument(
        "--nprocs",
        "--nthreads",
        "--n-cpus",
        "--n_cpus",
        dest="n_procs",
        type=positive,
        default=_available_cpus(),
        metavar="N",
        help="processes (default: the processors at hand, %(default)s)",
    )
    group.add_argument(
        "--omp-nthreads",
        type=positive,
        metavar="N",
        help="threads of each process (default: processes / steps in parallel)",
    )
    group.add_argument(
        "--mem",
        "--mem-mb",
        "--mem_mb",
        dest="memory_gb",
        type=_memory_gb,
        metavar="MB|nG",
        help="memory limit: MB, or with suffix K, M, G, T",
    )
    group.add_argument(
        "--device",
        type=device_name,
        default="auto",
        help="auto, cpu, cuda or cuda:N (default: %(default)s)",
    )
    group.add_argument(
        "--use-plugin",
        "--nipype-plugin-file",
        type=Path,
        metavar="YAML",
        help="Nipype plugin and its arguments",
    )

    group = parser.add_argument_group("running")
    group.add_argument(
        "-w",
        "--work-dir",
        "--work_dir",
        type=Path,
        default=Path("work"),
        help="intermediate results; a rerun redoes only what changed (default: %(default)s)",
    )
    group.add_argument("--stop-on-first-crash", action="store_true", help="stop at the first error")
    group.add_argument(
        "--reports-only", action="store_true", help="write the reports again, compute nothing"
    )
    group.add_argument("--dry-run", action="store_true", help="list the scans found and stop")
    group.add_argument(
        "--config-file",
        type=Path,
        metavar="TOML",
        help="take the options of an earlier run; the command line wins",
    )
    group.add_argument("-v", "--verbose", action="count", default=0, help="say more; twice: all")
    group.add_argument("--notrack", action="store_true", help=argparse.SUPPRESS)
    return parser


def parse_options(arguments: Sequence[str] | None = None) -> Options:
    """Parse the command line over the defaults of a configuration file, if one is named.

    Raises
    ------
    UsageError
        For wrong options, parameters that a method does not have, or an unusable configuration
        file.
    """
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.config_file is not None:
        parser.set_defaults(**_defaults_from(options.config_file, parser))
        options = parser.parse_args(arguments)
    if options.uncertainty and options.two_pass:
        raise UsageError("--uncertainty is not known for maps of two passes; drop --two-pass")
    parse_spaces(tuple(options.output_spaces))
    values = vars(options)
    for name, registry in METHODS.items():
        values[name] = chosen(options, f"--{name}", registry)
    for name, value in values.items():
        if isinstance(value, Path):  # steps run in folders of their own
            values[name] = value.absolute()
    return Options(
        from_options(Settings, values),
        from_options(Resources, values),
        from_options(Selection, values),
        from_options(Running, values),
        recorded(values),
    )


def recorded(options: dict[str, object]) -> dict[str, object]:
    """Options worth repeating: the result of this run, not how it was called."""
    return {
        name: str(value) if isinstance(value, Path | Choice) else value
        for name, value in options.items()
        if value is not None and name not in _NOT_RECORDED
    }


def _defaults_from(path: Path, parser: argparse.ArgumentParser) -> dict[str, object]:
    """Options of a configuration file, checked as if they stood on the command line."""
    values = read_toml(path).get("options")
    if not isinstance(values, dict):
        raise UsageError(f"{path}: the section [options] is missing")
    flags = {action.dest: action for action in parser._actions}
    words = []
    for name, value in values.items():
        if name not in flags:
            raise UsageError(f"{path}: unknown option {name!r}")
        if (
            name in _NOT_FROM_FILE
            or value is False
            or value == []
            or (name, value) == ("verbose", 0)
        ):
            continue
        words.append(flags[name].option_strings[0])
        if name == "verbose":
            words[-1] = "-" + "v" * int(value)
        elif value is not True:
            words += [_word(name, item) for item in (value if isinstance(value, list) else [value])]
    try:
        checked = parser.parse_args(["in", "out", LEVELS[0], *words])
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    return {name: getattr(checked, name) for name in values if name not in _NOT_FROM_FILE}


def _word(name: str, value: object) -> str:
    return f"{value}G" if name == "memory_gb" else str(value)


def _memory_gb(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)B?", text.strip(), re.IGNORECASE)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no memory size, e.g. 8000 (MB) or 8G")
    gigabytes = {"K": 1e-6, "M": 1e-3, "": 1e-3, "G": 1.0, "T": 1e3}
    return float(match[1]) * gigabytes[match[2].upper()]


def _output_space(text: str) -> str:
    return text if text == NATIVE else str(OutputSpace.parse(text))


def _available_cpus() -> int:
    """Processors given to this process: Slurm and cgroups may allow fewer than the machine has."""
    if slurm := os.environ.get("SLURM_CPUS_PER_TASK"):
        return int(slurm)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
