"""``isdu-qsm segment``: anatomical labels of an image of any contrast."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from isdu_bids import __version__, images
from isdu_bids.errors import DataError, UsageError
from isdu_bids.files import beside, file_sha256, write_json, write_text
from isdu_bids.quality.flags import processing_flags
from isdu_bids.quality.segmentation import flag_segmentation, measure_segmentation
from isdu_bids.segmentation.choose import (
    judge_file,
    load_network,
    load_parcellation,
    network_file,
)
from isdu_bids.segmentation.keras_weights import load_scores
from isdu_bids.segmentation.labels import label_name
from isdu_bids.segmentation.segment import Segmentation, segment


def run_segmentation(options: argparse.Namespace) -> Path:
    """Segment one file; beside the labels their names (``.tsv``) and how it went (``.json``).

    Raises
    ------
    UsageError
        If the output is no NIfTI name, or weights are missing.
    DataError
        If the image is no single volume.
    """
    if not options.output.name.endswith((".nii", ".nii.gz")):
        raise UsageError(f"{options.output}: labels are written as .nii or .nii.gz")
    image = images.load_volume(options.image)
    if image.data.ndim != 3:
        raise DataError(
            f"{options.image} has shape {image.data.shape}; give one volume, as one echo or the "
            "root of the sum of squares of all"
        )
    chosen = load_network(options.network, options.synthseg_weights)
    parcellation = load_parcellation(options.synthseg_weights) if options.parcellation else None
    judge = judge_file(network_file(options.network, options.synthseg_weights))
    result = segment(
        image.data,
        image.affine,
        network=chosen.network,
        parcellation=parcellation.network if parcellation else None,
        judge=load_scores(judge) if judge else None,
        flip=options.flip,
        device=options.device,
    )
    path = images.save_volume(result.labels, image.affine, options.output)
    known = sorted(result.soft_volumes_mm3)
    names = pd.DataFrame({"index": known, "name": map(label_name, known)})
    write_text(beside(path, ".tsv"), names.to_csv(sep="\t", index=False))
    sidecar: dict[str, Any] = {
        "Manual": False,
        "SegmentationMethod": chosen.description,
        "Weights": chosen.name,
        "WeightsSHA256": chosen.sha256,
        "OfficialWeights": chosen.official,
        "ParcellationWeightsSHA256": parcellation.sha256 if parcellation else None,
        "ScoresWeightsSHA256": file_sha256(judge) if judge and result.scores else None,
        "Device": result.device,
        **_findings(result, chosen.flags),
        "Sources": [str(options.image)],
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
