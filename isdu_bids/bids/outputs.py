"""ONE table of every output: where it goes, what it is called, its unit and its sidecar.

Native outputs carry no ``space-``; the same rows serve template spaces, whose names add it.
Names in ``fmap`` drop ``rec``, which BIDS does not allow there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from isdu_bids.bids.acquisition import Acquisition
from isdu_bids.bids.names import SCAN_ENTITIES, build_name, parse_name
from isdu_bids.errors import DataError
from isdu_bids.files import beside, write_json, write_text
from isdu_bids.images import save_volume

#: Acquisition parameters that are handed down from the raw sidecars where all of them agree.
HANDED_DOWN = (
    "Manufacturer",
    "ManufacturersModelName",
    "InstitutionName",
    "SoftwareVersions",
    "ReceiveCoilName",
    "ReceiveCoilActiveElements",
    "MRAcquisitionType",
    "ScanningSequence",
    "SequenceVariant",
    "SequenceName",
    "PulseSequenceType",
    "PulseSequenceDetails",
    "ImagingFrequency",
    "RepetitionTime",
    "FlipAngle",
)

#: Columns of a table: name -> values.
Table = Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class Output:
    """One row of the table.

    Attributes
    ----------
    key
        Name by which the rest of the program asks for it.
    datatype
        Folder, ``anat`` or ``fmap``.
    suffix, extension
        End of the name.
    entities
        What the name adds to the entities of the scan.
    units
        ``Units`` of the sidecar; data must come in them. None where a unit makes no sense.
    skull_stripped
        ``SkullStripped``; None for masks, segmentations and tables, which have none.
    description
        ``Description`` of the sidecar.
    per_echo
        One file per echo, else one per scan.
    sidecar
        Further constant fields.
    """

    key: str
    datatype: str
    suffix: str
    entities: Mapping[str, str]
    units: str | None
    skull_stripped: bool | None
    description: str
    extension: str = ".nii.gz"
    per_echo: bool = False
    sidecar: Mapping[str, Any] = field(default_factory=dict)


_MASK = {"Type": "Brain", "SpatialReference": "orig"}
_DSEG = {"SpatialReference": "orig"}

# fmt: off
_TABLE = (
    Output("chi", "anat", "Chimap", {}, "ppm", True,
           "Quantitative susceptibility map"),
    Output("chi_csf", "anat", "Chimap", {"desc": "csf"}, "ppm", True,
           "Quantitative susceptibility map referenced to cerebrospinal fluid"),
    Output("chi_sd", "anat", "Chimap", {"desc": "sd"}, "ppm", True,
           "Standard deviation of the susceptibility by noise and by mirroring the volume"),
    Output("t2star", "anat", "T2starmap", {}, "s", True,
           "Effective transverse relaxation time T2*"),
    Output("r2star", "anat", "R2starmap", {}, "1/s", True,
           "Effective transverse relaxation rate R2*"),
    Output("s0", "anat", "S0map", {}, "arbitrary", True,
           "Magnitude extrapolated to echo time zero"),
    Output("magnitude_combined", "anat", "T2starw", {"part": "mag", "desc": "combined"},
           "arbitrary", False, "Root of the sum of squares of the magnitude over all echoes"),
    Output("unwrapped", "anat", "MEGRE", {"part": "phase", "desc": "unwrapped"}, "rad", False,
           "Unwrapped phase of one echo", per_echo=True),
    Output("brain_mask", "anat", "mask", {"desc": "brain"}, None, None,
           "Voxels in which the field was measured", sidecar=_MASK),
    Output("eroded_mask", "anat", "mask", {"desc": "eroded"}, None, None,
           "Voxels in which local field and susceptibility are valid", sidecar=_MASK),
    Output("total_field", "fmap", "fieldmap", {"desc": "total"}, "Hz", True,
           "Field of all sources, inside and outside the brain"),
    Output("field_sd", "fmap", "fieldmap", {"desc": "sd"}, "Hz", True,
           "Standard deviation of the total field, by noise and disagreement of the echoes"),
    Output("local_field", "fmap", "fieldmap", {"desc": "local"}, "Hz", True,
           "Field of the sources inside the brain, after background field removal"),
    Output("field_magnitude", "fmap", "magnitude", {}, "arbitrary", False,
           "Magnitude image that belongs to the field maps"),
    Output("dseg", "anat", "dseg", {"seg": "synthseg"}, None, None,
           "Anatomical labels on the grid of the gradient-echo scan", sidecar=_DSEG),
    Output("dseg_labels", "anat", "dseg", {"seg": "synthseg"}, None, None,
           "Names of the anatomical labels", extension=".tsv"),
    Output("stats", "anat", "stats", {"seg": "synthseg", "desc": "chi"}, None, None,
           "Susceptibility and relaxation per anatomical region", extension=".tsv"),
)
# fmt: on

#: Every output by its key.
OUTPUTS: Mapping[str, Output] = MappingProxyType({output.key: output for output in _TABLE})


def output_path(
    output_dir: Path,
    acquisition: Acquisition,
    key: str,
    echo: int | None = None,
    entities: Mapping[str, str] = MappingProxyType({}),
) -> Path:
    """Path of an output.

    Parameters
    ----------
    output_dir
        Root of the derivative dataset.
    acquisition
        The scan that it is made from.
    key
        A key of `OUTPUTS`.
    echo
        1-based number of the echo, for outputs that have one file per echo, else None.
    entities
        Of another space (``space``, perhaps ``res``) or of other labels (``seg``).

    Examples
    --------
    >>> scan = Acquisition("01", run="1", field_strength_t=3.0)
    >>> output_path(Path("out"), scan, "unwrapped", echo=2).as_posix()
    'out/sub-01/anat/sub-01_run-1_echo-2_part-phase_desc-unwrapped_MEGRE.nii.gz'
    """
    output = OUTPUTS[key]
    if output.per_echo != (echo is not None):
        raise ValueError(f"output {key}: echo is {echo}, but per_echo is {output.per_echo}")
    named = {**_scan_entities(acquisition, output.datatype), **output.entities, **entities}
    if echo is not None:
        named["echo"] = str(echo)
    name = build_name(named, output.suffix, output.extension)
    return scan_folder(output_dir, acquisition) / output.datatype / name


def transform_path(output_dir: Path, acquisition: Acquisition, start: str, end: str) -> Path:
    """Path of the transform of images from one space to another.

    Examples
    --------
    >>> scan = Acquisition("01", field_strength_t=3.0)
    >>> transform_path(Path("out"), scan, "MEGRE", "NKI").as_posix()
    'out/sub-01/anat/sub-01_from-MEGRE_to-NKI_mode-image_xfm.h5'
    """
    entities = {**acquisition.entities, "from": start, "to": end, "mode": "image"}
    return scan_folder(output_dir, acquisition) / "anat" / build_name(entities, "xfm", ".h5")


def scan_folder(output_dir: Path, acquisition: Acquisition) -> Path:
    """``sub-X`` or ``sub-X/ses-Y`` of the derivative dataset."""
    folder = output_dir / f"sub-{acquisition.subject}"
    return folder / f"ses-{acquisition.session}" if acquisition.session else folder


def field_names_clash(acquisition: Acquisition, acquisitions: Sequence[Acquisition]) -> bool:
    """Whether another scan differs in ``rec`` only, so that neither may write field maps."""
    own = _scan_entities(acquisition, "fmap")
    return any(
        other.name != acquisition.name and _scan_entities(other, "fmap") == own
        for other in acquisitions
    )


def raw_uri(path: Path, subject: str) -> str:
    """BIDS URI of a file of the raw dataset.

    Examples
    --------
    >>> raw_uri(Path("/data/sub-01/anat/sub-01_echo-1_part-mag_MEGRE.nii.gz"), "01")
    'bids:raw:sub-01/anat/sub-01_echo-1_part-mag_MEGRE.nii.gz'
    """
    parts = path.parts
    start = len(parts) - 1 - parts[::-1].index(f"sub-{subject}")
    return "bids:raw:" + "/".join(parts[start:])


def output_sidecar(acquisition: Acquisition, key: str, echo: int | None = None) -> dict[str, Any]:
    """Sidecar fields of an output that follow from the table and the scan.

    Varying parameters are arrays: ``EchoTime`` lists all echoes unless the output is of one echo.
    """
    output = OUTPUTS[key]
    echo_times = acquisition.echo_times_s
    fields = {
        "Description": output.description,
        "Sources": [raw_uri(path, acquisition.subject) for path in acquisition.source_files],
        "SkullStripped": output.skull_stripped,
        "Units": output.units,
        **output.sidecar,
    }
    if output.units is not None:
        fields |= {
            "EchoTime": list(echo_times) if echo is None else echo_times[echo - 1],
            "MagneticFieldStrength": acquisition.metadata.get(
                "MagneticFieldStrength", acquisition.field_strength_t
            ),
            **{k: acquisition.metadata[k] for k in HANDED_DOWN if k in acquisition.metadata},
        }
    return {name: value for name, value in fields.items() if value is not None}


def write_output(
    output_dir: Path,
    acquisition: Acquisition,
    key: str,
    data: npt.ArrayLike | Table,
    affine: npt.ArrayLike | None = None,
    sidecar: Mapping[str, Any] | None = None,
    echo: int | None = None,
    entities: Mapping[str, str] = MappingProxyType({}),
) -> Path:
    """Write an output with its sidecar and return its path.

    Parameters
    ----------
    output_dir, acquisition, key, echo, entities
        As for `output_path`.
    data
        Volume ``(x, y, z)`` in the units of the table, or the columns of a ``.tsv``.
    affine
        Voxel to world, for images.
    sidecar
        Fields to add to, or to put in place of, those of `output_sidecar`; for a table, the
        description of its columns.

    Raises
    ------
    DataError
        If an image has values that are not finite.
    OutputError
        If the folder cannot be written.
    """
    path = output_path(output_dir, acquisition, key, echo, entities)
    if isinstance(data, Mapping):
        write_text(path, _tsv(data))
    else:
        _write_image(path, np.asarray(data), affine)
    if key != "dseg_labels":  # whose name and sidecar are those of the image
        fields = {**output_sidecar(acquisition, key, echo), **(sidecar or {})}
        write_json(beside(path, ".json"), fields)
    return path


def remove_outdated(
    output_dir: Path,
    acquisition: Acquisition,
    written: Collection[Path] = (),
    *,
    space: str | None = None,
    other_spaces: Collection[str] = (),
) -> None:
    """Remove a scan's outputs of earlier runs, which other settings wrote.

    A table of regions beside a map that it was not measured in would look right and be wrong.
    Files that are no output of this table stay, and so do field maps where none were written:
    their names do not tell which ``rec`` they belong to.

    Parameters
    ----------
    output_dir, acquisition
        As for `output_path`.
    written
        What this run wrote, which stays.
    space
        Look at the files of this template only.
    other_spaces
        Templates whose files stay: other steps write them.
    """
    current = {_stem(path) for path in written}
    folders = {path.parent for path in written} or {scan_folder(output_dir, acquisition) / "anat"}
    for path in (path for folder in folders for path in folder.glob("sub-*")):
        entities = _output_entities(path)
        own = _scan_entities(acquisition, path.parent.name)
        if own != {key: label for key, label in entities.items() if key in SCAN_ENTITIES}:
            continue
        spaces = {entities.get(key) for key in ("space", "from", "to")}
        looked_at = space in spaces if space else spaces.isdisjoint(other_spaces)
        if looked_at and _stem(path) not in current:
            path.unlink(missing_ok=True)


def _output_entities(path: Path) -> dict[str, str]:
    """Entities of a file that is named as an output or its sidecar, none of any other."""
    try:
        entities, suffix, extension = parse_name(path)
    except DataError:
        return {}
    free = (*SCAN_ENTITIES, "echo", "space", "res", "seg", "from", "to")
    kind = {key: label for key, label in entities.items() if key not in free}
    if (suffix, extension, kind) == ("xfm", ".h5", {"mode": "image"}):
        return entities
    for output in _TABLE:
        fixed = {key: label for key, label in output.entities.items() if key != "seg"}
        is_alike = (suffix, kind) == (output.suffix, fixed) and extension in (
            output.extension,
            ".json",
        )
        is_per_echo = "echo" not in entities or output.per_echo
        if is_alike and is_per_echo and ("seg" in entities) == ("seg" in output.entities):
            return entities
    return {}


def _stem(path: Path) -> str:
    """Name that a file and its sidecar share."""
    return path.name.partition(".")[0]


def _write_image(path: Path, data: npt.NDArray[Any], affine: npt.ArrayLike | None) -> None:
    if affine is None or data.ndim != 3:
        raise ValueError(f"{path}: a 3D array and its affine are needed, not shape {data.shape}")
    if not np.all(np.isfinite(data)):
        raise DataError(f"{path} would hold values that are not finite; please report this")
    save_volume(data, affine, path)


def _tsv(table: Table) -> str:
    rows = [list(table), *zip(*table.values(), strict=True)]
    return "".join("\t".join(map(_cell, row)) + "\n" for row in rows)


def _cell(value: Any) -> str:
    """Text of a table cell; BIDS writes ``n/a`` where there is no value."""
    if value is None or value != value:
        return "n/a"
    return f"{value:.6g}" if isinstance(value, float | np.floating) else str(value)


def _scan_entities(acquisition: Acquisition, datatype: str) -> dict[str, str]:
    dropped = {"rec"} if datatype == "fmap" else set()
    return {key: label for key, label in acquisition.entities.items() if key not in dropped}
