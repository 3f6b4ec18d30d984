"""``isdu-qsm invert``: susceptibility of a local field that somebody else has made."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from isdu_bids import __version__, images
from isdu_bids.errors import DataError
from isdu_bids.files import beside, write_json
from isdu_bids.geometry import b0_direction, voxel_size_mm
from isdu_bids.inversion.invert import invert
from isdu_bids.networks.inference import cached_weights, chosen_grid


def run_inversion(options: argparse.Namespace) -> Path:
    """Invert one file; the sidecar beside the map says how.

    Raises
    ------
    DataError
        If field and mask do not fit, or the field is no single volume.
    """
    images.check_same_grid([options.field, options.mask])
    field, mask = images.load_volume(options.field), images.load_volume(options.mask)
    if field.data.ndim != 3:
        raise DataError(f"{options.field} has shape {field.data.shape}; one local field is needed")
    direction = tuple(options.b0_direction or b0_direction(field.affine))
    parameters: dict[str, Any] = {}
    facts: dict[str, Any] = {}
    if options.method == "isdu":
        weights = cached_weights(str(options.weights), options.weights_iterations)
        grid = chosen_grid(options.grid, weights, voxel_size_mm(field.affine), direction)
        parameters = {"weights": weights, "precision": options.precision, "grid": grid}
        facts = {
            "Weights": weights.name,
            "WeightsSHA256": weights.sha256,
            "Grid": grid,
            "Precision": options.precision,
        }
    chi = invert(
        field.data,
        mask.data > 0,
        voxel_size_mm=voxel_size_mm(field.affine),
        b0_direction=direction,
        method=options.method,
        unit=options.unit,
        field_strength_t=options.field_strength,
        echo_time_s=options.echo_time,
        device=options.device,
        **parameters,
    )
    path = images.save_volume(chi, field.affine, options.output)
    sidecar = {
        "Units": "ppm",
        "InversionMethod": options.method,
        "Reference": "mean of the mask",
        "B0Direction": direction,
        "FieldUnit": options.unit,
        "Sources": [str(options.field), str(options.mask)],
        "GeneratedBy": [{"Name": "isdu-bids", "Version": __version__}],
        **facts,
    }
    write_json(beside(path, ".json"), sidecar)
    return path
