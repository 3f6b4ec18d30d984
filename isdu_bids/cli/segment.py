"""``isdu-qsm segment``: anatomical labels of an image of any contrast."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from isdu_bids import __version__, images
from isdu_bids.cli.arguments import Parser, add_method, chosen, device_name
from isdu_bids.errors import DataError, UsageError
from isdu_bids.files import beside, file_sha256, write_json, write_text
from isdu_bids.quality.flags import processing_flags
from isdu_bids.quality.segmentation import flag_segmentation, measure_segmentation
from isdu_bids.registry import Registry
from isdu_bids.segmentation.keras_weights import load_scores
from isdu_bids.segmentation.labels import label_name
from isdu_bids.segmentation.loading import load_parcellation
from isdu_bids.segmentation.registry import SEGMENTATION, sees_susceptibility
from isdu_bids.segmentation.segment import Segmentation, segment

#: One must be named here: no rule chooses.
NETWORKS = Registry(SEGMENTATION.title, *SEGMENTATION.values(), default="synthseg")


def add_arguments(parser: Parser) -> None:
    """Add what the command takes."""
    parser.add_argument("image", type=Path, help="one volume (NIfTI)")
    parser.add_argument(
        "output", type=Path, metavar="OUT_DSEG.nii.gz", help="labels to write, on the same grid"
    )
    add_method(parser, "--network", NETWORKS)
    parser.add_argument(
        "--parcellation",
        action="store_true",
        help="divide the cortex, by SynthSeg's weights for that",
    )
    parser.add_argument(
        "--chi",
        type=Path,
        metavar="CHI",
        help="susceptibility (ppm) on the grid of the image, zero where it is not known: the small "
        "network looks at the deep nuclei in both",
    )
    parser.add_argument(
        "--no-flip",
        dest="flip",
        action="store_false",
        help="do not average with the mirrored image: half the time, a little worse",
    )
    parser.add_argument("--device", type=device_name, default="auto")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    print(run_segmentation(options))


def run_segmentation(options: argparse.Namespace) -> Path:
    """Segment one file; beside the labels their names (``.tsv``) and how it went (``.json``).

    Raises
    ------
    UsageError
        If the output is no NIfTI name, or weights are missing.
    DataError
        If the image is no single volume.
    """
    choice = chosen(options, "--network", NETWORKS)
    if not options.output.name.endswith((".nii", ".nii.gz")):
        raise UsageError(f"{options.output}: labels are written as .nii or .nii.gz")
    image = images.load_volume(options.image)
    if image.data.ndim != 3:
        raise DataError(
            f"{options.image} has shape {image.data.shape}; give one volume, as one echo or the "
            "root of the sum of squares of all"
        )
    chi = images.load_volume(options.chi) if options.chi else None
    if chi and not sees_susceptibility(NETWORKS[choice.name]):
        raise UsageError(f"--chi is for --network small, not {choice.name}: leave it out")
    if chi:
        images.check_same_grid([options.image, options.chi])
    parameters = NETWORKS[choice.name].located(choice.parameters)
    loaded = NETWORKS[choice.name](**parameters)
    where = choice.parameters.get("weights")
    score_net = loaded.score_net
    parcellation = None
    if options.parcellation:
        parcellation = load_parcellation(Path(where) if where else None)
    result = segment(
        image.data,
        image.affine,
        network=loaded.network,
        nuclei=loaded.nuclei,
        chi_ppm=chi.data if chi else None,
        parcellation=parcellation.network if parcellation else None,
        score_net=load_scores(score_net) if score_net else None,
        flip=options.flip,
        device=options.device,
    )
    path = images.save_volume(result.labels, image.affine, options.output)
    known = sorted(result.soft_volumes_mm3)
    names = pd.DataFrame({"index": known, "name": map(label_name, known)})
    write_text(beside(path, ".tsv"), names.to_csv(sep="\t", index=False))
    sidecar: dict[str, Any] = {
        "Manual": False,
        "SegmentationMethod": loaded.description,
        "Weights": loaded.name,
        "WeightsSHA256": loaded.sha256,
        "NucleiWeightsSHA256": loaded.nuclei_sha256 if chi else None,
        "OfficialWeights": loaded.official,
        "ParcellationWeightsSHA256": parcellation.sha256 if parcellation else None,
        "ScoresWeightsSHA256": file_sha256(score_net) if score_net and result.scores else None,
        "Device": result.device,
        **_findings(result, loaded.flags),
        "Sources": [str(path) for path in (options.image, options.chi) if path],
        "GeneratedBy": [{"Name": "isdu-bids", "Version": __version__}],
    }
    write_json(
        beside(path, ".json"),
        {field: value for field, value in sidecar.items() if value is not None},
    )
    return path


def _findings(result: Segmentation, flags: Sequence[str]) -> dict[str, Any]:
    """Volumes and confidence by the names of regions, and what they call into question."""
    volumes = result.soft_volumes_mm3
    measures = measure_segmentation(
        # no mask leaves anything out
        {"index": [*volumes], "volume_mm3": [*volumes.values()], "coverage": [1.0] * len(volumes)},
        intracranial_mm3=result.intracranial_mm3,
        confidence=result.confidence,
        scores=result.scores,
    )
    total = result.intracranial_mm3
    return {
        "IntracranialVolume_mm3": None if math.isnan(total) else round(total),
        "SoftVolumes_mm3": {label_name(k): round(v, 1) for k, v in volumes.items()},
        "Confidence": {label_name(k): round(v, 3) for k, v in result.confidence.items() if k},
        "Scores": {name: round(score, 4) for name, score in result.scores.items()} or None,
        "Flags": [
            flag._asdict() for flag in [*processing_flags(flags), *flag_segmentation(measures)]
        ],
    }
