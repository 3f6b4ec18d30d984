"""``isdu-qsm invert``: susceptibility of a field that somebody else has made."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from isdu_bids import __version__, images
from isdu_bids.cli.arguments import Parser, add_method, chosen, device_name
from isdu_bids.errors import DataError
from isdu_bids.files import beside, write_json
from isdu_bids.geometry import b0_direction, voxel_size_mm
from isdu_bids.inversion.invert import invert
from isdu_bids.inversion.registry import INVERSION, VOLUMES
from isdu_bids.units import FIELD_UNITS, units_per_ppm

#: Volumes that some method takes beside the field and its mask, each an option.
_FURTHER = [
    name
    for name in VOLUMES
    if name not in ("field_ppm", "total_field_ppm", "mask")
    and any(method.takes([name]) for method in INVERSION.values())
]


def add_arguments(parser: Parser) -> None:
    """Add what the command takes."""
    parser.add_argument("field", type=Path, help="local field (NIfTI)")
    parser.add_argument("-m", "--mask", type=Path, required=True, help="where it is valid")
    parser.add_argument("-o", "--output", type=Path, required=True, help="map to write, in ppm")
    parser.add_argument("--unit", choices=FIELD_UNITS, default="ppm", help="of the field")
    parser.add_argument("--field-strength", type=float, metavar="T", help="for hz and rad")
    parser.add_argument("--echo-time", type=float, metavar="S", help="for rad")
    parser.add_argument(
        "--b0-direction",
        type=float,
        nargs=3,
        metavar=("X", "Y", "Z"),
        help="B0 along the voxel axes (default: from the affine)",
    )
    add_method(parser, "--method", INVERSION)
    for name in _FURTHER:
        option = name.removesuffix("_ppm").removesuffix("_per_s").replace("_", "-")
        unit = {"_ppm": "ppm", "_per_s": "1/s"}.get(name[len(option) :], "any unit")
        parser.add_argument(
            f"--{option}",
            dest=name,
            type=Path,
            metavar="NIFTI",
            help=f"for methods that take it ({unit})",
        )
    parser.add_argument("--device", type=device_name, default="auto")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    print(run_inversion(options))


def run_inversion(options: argparse.Namespace) -> Path:
    """Invert one file; the sidecar beside the map says how.

    Raises
    ------
    DataError
        If field and mask do not fit, or the field is no single volume.
    """
    choice = chosen(options, "--method", INVERSION)
    method = INVERSION[choice.name]
    further = {name: getattr(options, name) for name in _FURTHER if getattr(options, name)}
    images.check_same_grid([options.field, options.mask, *further.values()])
    field, mask = images.load_volume(options.field), images.load_volume(options.mask)
    if field.data.ndim != 3:
        raise DataError(f"{options.field} has shape {field.data.shape}; one field is needed")
    geometry = {
        "voxel_size_mm": voxel_size_mm(field.affine),
        "b0_direction": tuple(options.b0_direction or b0_direction(field.affine)),
    }
    volumes = {name: images.load_volume(path).data for name, path in further.items()}
    scale = units_per_ppm(options.unit, options.field_strength, options.echo_time)
    seen = {"field_ppm": field.data / scale, "mask": mask.data > 0, **volumes}
    tensors = {name: torch.from_numpy(np.asarray(volume)) for name, volume in seen.items()}
    ready = method.prepared(method.located(choice.parameters), {**tensors, **geometry})
    chi = invert(
        field.data,
        mask.data > 0,
        **geometry,
        method=method.name,
        unit=options.unit,
        field_strength_t=options.field_strength,
        echo_time_s=options.echo_time,
        volumes=volumes,
        device=options.device,
        **ready.parameters,
    )
    path = images.save_volume(chi, field.affine, options.output)
    sidecar = {
        "Units": "ppm",
        "InversionMethod": method.name,
        "Parameters": ready.stated,
        "Reference": "mean of the mask",
        "B0Direction": geometry["b0_direction"],
        "FieldUnit": options.unit,
        "Sources": [str(path) for path in (options.field, options.mask, *further.values())],
        "GeneratedBy": [{"Name": "isdu-bids", "Version": __version__}],
        **{_SIDECAR[name]: ready.facts[name] for name in _SIDECAR if name in ready.facts},
    }
    write_json(beside(path, ".json"), sidecar)
    return path


#: Facts of a method -> fields of the sidecar.
_SIDECAR = {"weights": "Weights", "weights_sha256": "WeightsSHA256"}
