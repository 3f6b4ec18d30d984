"""Files of segmentation networks: found without loading them, when a run is set up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from isdu_bids.errors import UsageError
from isdu_bids.packaged import WEIGHTS_FOLDER, find_weights

#: Names that SynthSeg's authors give to the weights.
DEFAULT_FILE = "synthseg_2.0.h5"
SMALL_FILE = WEIGHTS_FOLDER / "regions_small.safetensors"
NUCLEI_FILE = WEIGHTS_FOLDER / "nuclei_small.safetensors"
ROBUST_FILE = "synthseg_robust_2.0.h5"
_SCORE_NET_FILE = "synthseg_qc_2.0.h5"


def official_if_found(weights: str | Path | None) -> str:
    """Name of the network that *auto* takes: SynthSeg's where weights are found, else none.

    Raises
    ------
    DataError
        If ``weights`` are given and there are none.
    """
    path = find_weights(_path(weights), DEFAULT_FILE)
    if path is None:
        return "none"
    return "robust" if "robust" in path.name else "synthseg"


def locate_synthseg(*, weights: str | Path | None, score_net: str | Path | None) -> dict[str, Any]:
    """Find the file of SynthSeg's network: the one given, in the folder given, or FreeSurfer's.

    Raises
    ------
    UsageError
        If no weights are found.
    DataError
        If ``weights`` are given and there are none.
    """
    return _located("synthseg", weights, DEFAULT_FILE, score_net)


def locate_robust(*, weights: str | Path | None, score_net: str | Path | None) -> dict[str, Any]:
    """Find the file of the robust variant, as `locate_synthseg`."""
    return _located("robust", weights, ROBUST_FILE, score_net)


def locate_small(*, weights: str | Path | None, nuclei: str | Path | None) -> dict[str, Any]:
    """Files of the small networks, packaged where none is given; own regions come alone."""
    packaged_nuclei = None if weights else NUCLEI_FILE
    return {"weights": _path(weights) or SMALL_FILE, "nuclei": _path(nuclei) or packaged_nuclei}


def _located(
    name: str, weights: str | Path | None, file: str, score_net: str | Path | None
) -> dict[str, Any]:
    network = _found(name, weights, file)
    return {"weights": network, "score_net": _path(score_net) or score_net_file(network)}


def _found(name: str, weights: str | Path | None, file: str) -> Path:
    path = find_weights(_path(weights), file)
    if path is None:
        raise UsageError(
            f"segmentation {name}: {file} was not found; name its file or folder by "
            "--synthseg-weights, set FREESURFER_HOME, or use the preliminary network of this "
            "package: --segmentation small (isdu-qsm segment: --network small)"
        )
    return path


def _path(where: str | Path | None) -> Path | None:
    return None if where is None else Path(where)


def score_net_file(network: Path) -> Path | None:
    """File of the network that scores segmentations, beside SynthSeg's; None if it is not there."""
    path = network.with_name(_SCORE_NET_FILE)
    return path if path.is_file() else None
