"""Segmentation networks by name: SynthSeg's, and the small one that comes with the package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open

from isdu_bids.errors import DataError, UsageError
from isdu_bids.files import file_sha256
from isdu_bids.packaged import WEIGHTS_FOLDER, find_weights
from isdu_bids.segmentation.choices import SEGMENTATIONS
from isdu_bids.segmentation.keras_weights import (
    DEFAULT_FILE,
    SynthSegWeights,
    load_synthseg,
)
from isdu_bids.segmentation.labels import PARC_LABELS
from isdu_bids.segmentation.region_net import load_region_net
from isdu_bids.segmentation.segment import SegmentationNetwork
from isdu_bids.segmentation.synthseg import RobustSynthSeg

SYNTHSEG_DOI, ROBUST_DOI = "10.1016/j.media.2023.102789", "10.1073/pnas.2216399120"
SMALL_FILE = WEIGHTS_FOLDER / "regions_small.safetensors"
_SYNTHSEG_FILES = {
    "auto": DEFAULT_FILE,
    "synthseg": DEFAULT_FILE,
    "robust": "synthseg_robust_2.0.h5",
}
_PARCELLATION_FILE, _JUDGE_FILE = "synthseg_parc_2.0.h5", "synthseg_qc_2.0.h5"


@dataclass(frozen=True)
class Chosen:
    """A network ready for inference, and what a sidecar says about it.

    Attributes
    ----------
    network
        For `isdu_bids.segmentation.segment.segment`.
    name, sha256
        Of the weights file.
    official
        Whether SynthSeg's weights are those that its authors distribute; None for the small
        network.
    description
        What completes "labelled by ..." in a methods section.
    reference
        DOI of the method.
    """

    network: SegmentationNetwork
    name: str
    sha256: str
    official: bool | None
    description: str
    reference: str = SYNTHSEG_DOI

    @property
    def flags(self) -> list[str]:
        """What a reader must know of the network, by the names of `isdu_bids.quality.flags`."""
        if self.official is None:
            return ["small_segmentation"]
        return [] if self.official else ["unofficial_synthseg"]


def network_file(name: str, synthseg_weights: Path | None = None) -> Path | None:
    """File that `load_network` reads; None for ``none``, and for ``auto`` without SynthSeg.

    Parameters
    ----------
    name
        One of `isdu_bids.segmentation.choices.SEGMENTATIONS`.
    synthseg_weights
        Keras file of SynthSeg, or the folder of several; by default FreeSurfer's.

    Raises
    ------
    UsageError
        For another name, or if SynthSeg is asked for and no weights are found.
    DataError
        If ``synthseg_weights`` is given and there are none.
    """
    if name == "small":
        return SMALL_FILE
    if name == "none":
        return None
    if name not in _SYNTHSEG_FILES:
        known = ", ".join(SEGMENTATIONS)
        raise UsageError(f"unknown segmentation network {name!r}; choose from: {known}")
    path = find_weights(synthseg_weights, _SYNTHSEG_FILES[name])
    if path is None and name != "auto":
        raise _not_found(name)
    return path


def load_network(name: str, synthseg_weights: Path | None = None) -> Chosen:
    """Load a segmentation network; ``auto`` is SynthSeg.

    Parameters and errors are those of `network_file`; also:

    Raises
    ------
    DataError
        If the file is damaged or holds another network than the name says.
    """
    path = network_file(name, synthseg_weights)
    if path is None:
        raise _not_found(name)
    if path == SMALL_FILE:
        network = load_region_net(path)
        with safe_open(path, framework="pt") as file:
            details = file.metadata()["description"]
        description = f"the small network of isdu-bids, made in the manner of SynthSeg ({details})"
        return Chosen(network, path.stem, file_sha256(path), None, description)
    weights = load_synthseg(path)
    robust = isinstance(weights.network, RobustSynthSeg)
    if weights.network.labels == PARC_LABELS or (name != "auto" and robust != (name == "robust")):
        raise DataError(
            f"{path} holds another network than {name}; give {_SYNTHSEG_FILES[name]} or its folder "
            "by --synthseg-weights"
        )
    variant = "the robust variant of SynthSeg" if robust else "SynthSeg"
    origin = weights.name if weights.official else f"{weights.name}, not an official file"
    description = f"{variant} ({origin})"
    return Chosen(
        weights.network,
        weights.name,
        weights.sha256,
        weights.official,
        description,
        ROBUST_DOI if robust else SYNTHSEG_DOI,
    )


def _not_found(name: str) -> UsageError:
    return UsageError(
        f"segmentation {name}: {_SYNTHSEG_FILES.get(name, 'no file')} was not found; name its file "
        "or folder by --synthseg-weights, set FREESURFER_HOME, or use the preliminary network of "
        "this package: --segmentation small (isdu-qsm segment: --network small)"
    )


def judge_file(network: Path | None) -> Path | None:
    """File of the network that scores segmentations, beside SynthSeg's; None if it is not there.

    Parameters
    ----------
    network
        What `network_file` found.
    """
    path = network.with_name(_JUDGE_FILE) if network else None
    return path if path and path.is_file() else None


def load_parcellation(synthseg_weights: Path | None = None) -> SynthSegWeights:
    """Load SynthSeg's network that divides the cortex, from the folder of its other weights.

    Raises
    ------
    UsageError
        If it is not found.
    DataError
        If the file is damaged or holds another network.
    """
    where = synthseg_weights
    path = find_weights(where.parent if where and where.is_file() else where, _PARCELLATION_FILE)
    if path is None:
        raise UsageError(
            f"{_PARCELLATION_FILE} was not found; name its folder by --synthseg-weights, set "
            "FREESURFER_HOME, or leave --parcellation out"
        )
    weights = load_synthseg(path)
    if weights.network.labels != PARC_LABELS:
        raise DataError(f"{path} holds no cortical parcellation; copy {_PARCELLATION_FILE} again")
    return weights
