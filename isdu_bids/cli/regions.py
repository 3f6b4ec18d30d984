"""``isdu-qsm regions``: statistics of a susceptibility map per anatomical region."""

from __future__ import annotations

import argparse
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from isdu_bids import __version__, images
from isdu_bids.bids.labels import label_meaning
from isdu_bids.cli.arguments import Parser
from isdu_bids.errors import DataError
from isdu_bids.files import beside, write_json, write_text
from isdu_bids.geometry import voxel_size_mm
from isdu_bids.segmentation.statistics import (
    STATISTICS_COLUMNS,
    Reference,
    region_statistics,
)


def add_arguments(parser: Parser) -> None:
    """Add what the command takes."""
    parser.add_argument("chi", type=Path, help="susceptibility map in ppm (NIfTI)")
    parser.add_argument("dseg", type=Path, help="labels on the same grid (NIfTI)")
    parser.add_argument("-m", "--mask", type=Path, help="(default: where the map is not zero)")
    parser.add_argument("--r2star", type=Path, help="map of R2* in 1/s on the same grid")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="TSV",
        help="table to write, with a JSON dictionary beside it (default: print the table)",
    )


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    print(run_regions(options))


def run_regions(options: argparse.Namespace) -> str:
    """Return the table; or write it, with a dictionary beside it (``.json``), and return its path.

    Raises
    ------
    DataError
        If a file cannot be read, is no single volume, or lies on another grid than the map.
    """
    optional = [path for path in (options.mask, options.r2star) if path]
    files = [options.chi, options.dseg, *optional]
    images.check_same_grid(files)
    volumes = {path: images.load_volume(path) for path in files}
    for path, volume in volumes.items():
        if volume.data.ndim != 3:
            raise DataError(f"{path} has shape {volume.data.shape}; one 3D volume is needed")
    chi = volumes[options.chi]
    valid = volumes[options.mask].data > 0 if options.mask else np.nan_to_num(chi.data) != 0
    labels = volumes[options.dseg].data
    result = region_statistics(
        chi.data,
        labels,
        valid,
        voxel_volume_mm3=float(np.prod(voxel_size_mm(chi.affine))),
        r2star_per_s=volumes[options.r2star].data if options.r2star else None,
        **label_meaning(options.dseg, np.unique(np.rint(np.nan_to_num(labels)))),
    )
    table = pd.DataFrame(result.table).astype({"index": "Int64"})  # merged regions have none
    text = table.to_csv(None, sep="\t", index=False, na_rep="n/a", float_format="%.6g")
    if options.output is None:
        return text.rstrip("\n")
    dictionary = {
        **STATISTICS_COLUMNS,
        "BrainReference": _known(result.brain_reference),
        "CSFReference": _known(result.csf_reference),
        "Mask": str(options.mask or "voxels of the map that are not zero"),
        "Sources": list(map(str, files)),
        "GeneratedBy": [{"Name": "isdu-bids", "Version": __version__}],
    }
    write_text(options.output, text)
    write_json(beside(options.output, ".json"), dictionary)
    return str(options.output)


def _known(reference: Reference) -> dict[str, Any]:
    """Facts on a reference, without the values of an empty one."""
    facts = asdict(reference)
    return {k: v for k, v in facts.items() if not (isinstance(v, float) and math.isnan(v))}
