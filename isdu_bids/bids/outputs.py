"""ONE table of every output: where it goes, what it is called, its unit and what it is made from.

Native outputs carry no ``space-``; the same rows serve template spaces, whose names add it.
Names in ``fmap`` drop ``rec``, which BIDS does not allow there. A new output is a row here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from isdu_bids.bids.acquisition import Acquisition
from isdu_bids.bids.names import build_name
from isdu_bids.segmentation.statistics import STATISTICS_COLUMNS


@dataclass(frozen=True)
class Output:
    """One row of the table.

    Attributes
    ----------
    key
        Name of the map in the workflow, with the unit in which it comes.
    datatype
        Folder, ``anat`` or ``fmap``.
    suffix, extension
        End of the file name.
    entities
        What the name adds to the entities of the scan.
    units
        ``Units`` of the sidecar; fields come in ppm of B0 and are stored in Hz. None where a unit
        makes no sense.
    skull_stripped
        ``SkullStripped``; None for masks, segmentations and tables, which have none.
    description
        ``Description`` of the sidecar.
    sources
        Keys of the maps that it is made from, or `RAW_MAGNITUDE` and `RAW_PHASE`.
    made_by
        Steps that had a part in it, by the names of their facts; the last one computed it.
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
    sources: tuple[str, ...]
    made_by: tuple[str, ...]
    extension: str = ".nii.gz"
    per_echo: bool = False
    sidecar: Mapping[str, Any] = field(default_factory=dict)


#: Sources that are no outputs: the images of the scan, real and imaginary parts being both.
RAW_MAGNITUDE, RAW_PHASE = "raw magnitude", "raw phase"
_RAW = (RAW_MAGNITUDE, RAW_PHASE)

# What leads to each kind of map. A step's facts are those whose names start with its own.
_MASKED = ("mask",)
_UNWRAPPED = ("phase_scaling", "mask", "offset", "sign", "unwrapping")
_TOTAL = (*_UNWRAPPED, "combination")
_LOCAL = (*_TOTAL, "two_pass", "background")
_INVERTED = (*_LOCAL, "weights", "uncertainty", "inversion")
_CHI = (*_INVERTED[:-1], "reference", "inversion")
_REGIONS = (*_CHI, "relaxation", "brain_reference", "csf_reference", "segmentation")

_MASK = {"Type": "Brain", "SpatialReference": "orig"}
_DSEG = {"SpatialReference": "orig"}

# fmt: off
_TABLE = (
    Output("chi_ppm", "anat", "Chimap", {}, "ppm", True,
           "Quantitative susceptibility map",
           ("local_field_ppm", "eroded_mask"), _CHI),
    Output("chi_csf_ppm", "anat", "Chimap", {"desc": "csf"}, "ppm", True,
           "Quantitative susceptibility map referenced to cerebrospinal fluid",
           ("chi_ppm", "labels"), (*_INVERTED[:-1], "csf_reference", "segmentation", "inversion")),
    Output("chi_sd", "anat", "Chimap", {"desc": "sd"}, "ppm", True,
           "Standard deviation of the susceptibility by noise and by mirroring the volume",
           ("local_field_ppm", "field_sd_ppm", "eroded_mask"), _INVERTED),
    Output("t2star", "anat", "T2starmap", {}, "s", True,
           "Effective transverse relaxation time T2*",
           (RAW_MAGNITUDE, "brain_mask"), (*_MASKED, "relaxation")),
    Output("r2star", "anat", "R2starmap", {}, "1/s", True,
           "Effective transverse relaxation rate R2*",
           (RAW_MAGNITUDE, "brain_mask"), (*_MASKED, "relaxation")),
    Output("s0", "anat", "S0map", {}, "arbitrary", True,
           "Magnitude extrapolated to echo time zero",
           (RAW_MAGNITUDE, "brain_mask"), (*_MASKED, "relaxation")),
    Output("magnitude_combined", "anat", "T2starw", {"part": "mag", "desc": "combined"},
           "arbitrary", False, "Root of the sum of squares of the magnitude over all echoes",
           (RAW_MAGNITUDE,), ()),
    Output("unwrapped", "anat", "MEGRE", {"part": "phase", "desc": "unwrapped"}, "rad", False,
           "Unwrapped phase of one echo",
           (*_RAW, "brain_mask"), _UNWRAPPED, per_echo=True),
    Output("brain_mask", "anat", "mask", {"desc": "brain"}, None, None,
           "Voxels in which the field was measured",
           _RAW, _MASKED, sidecar=_MASK),
    Output("eroded_mask", "anat", "mask", {"desc": "eroded"}, None, None,
           "Voxels in which local field and susceptibility are valid",
           ("total_field_ppm", "brain_mask"), _LOCAL, sidecar=_MASK),
    Output("total_field_ppm", "fmap", "fieldmap", {"desc": "total"}, "Hz", True,
           "Field of all sources, inside and outside the brain",
           (RAW_MAGNITUDE, "unwrapped", "brain_mask"), _TOTAL),
    Output("field_sd_ppm", "fmap", "fieldmap", {"desc": "sd"}, "Hz", True,
           "Standard deviation of the total field, by noise and disagreement of the echoes",
           (RAW_MAGNITUDE, "unwrapped", "brain_mask"), _TOTAL),
    Output("local_field_ppm", "fmap", "fieldmap", {"desc": "local"}, "Hz", True,
           "Field of the sources inside the brain, after background field removal",
           ("total_field_ppm", "field_sd_ppm", "brain_mask"), _LOCAL),
    Output("field_magnitude", "fmap", "magnitude", {}, "arbitrary", False,
           "Magnitude image that belongs to the field maps: root of the sum of squares over all "
           "echoes",
           (RAW_MAGNITUDE,), ()),
    Output("labels", "anat", "dseg", {"seg": "synthseg"}, None, None,
           "Anatomical labels on the grid of the gradient-echo scan",
           (RAW_MAGNITUDE,), ("segmentation",), sidecar=_DSEG),
    Output("label_names", "anat", "dseg", {"seg": "synthseg"}, None, None,
           "Names of the anatomical labels",
           ("labels",), ("segmentation",), extension=".tsv"),
    Output("regions", "anat", "stats", {"seg": "synthseg", "desc": "chi"}, None, None,
           "Susceptibility and relaxation per anatomical region",
           ("chi_ppm", "r2star", "labels", "eroded_mask"), _REGIONS, extension=".tsv",
           sidecar=STATISTICS_COLUMNS),
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
    named = {**scan_entities(acquisition, output.datatype), **output.entities, **entities}
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


def label_entities(key: str, facts: Mapping[str, Any]) -> dict[str, str]:
    """Entities of labels that are not SynthSeg's and must not carry its name."""
    others = {"user": "user", "regions_small": "small"}
    made_by = str(facts.get("segmentation"))
    return {"seg": others[made_by]} if "seg" in OUTPUTS[key].entities and made_by in others else {}


def with_one_field_name(acquisitions: Iterable[Acquisition]) -> set[str]:
    """Names of scans that differ from another in ``rec`` only: none may write field maps."""
    scans: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for acquisition in acquisitions:
        own = tuple(scan_entities(acquisition, "fmap").items())
        scans.setdefault(own, []).append(acquisition.name)
    return {name for names in scans.values() if len(names) > 1 for name in names}


def scan_entities(acquisition: Acquisition, datatype: str) -> dict[str, str]:
    """Entities of a scan as they are in the names of its outputs in a folder."""
    dropped = {"rec"} if datatype == "fmap" else set()
    return {key: label for key, label in acquisition.entities.items() if key not in dropped}
