"""Segmentation networks by name: SynthSeg's, and the small one that comes with the package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open

from isdu_bids.errors import DataError, UsageError
from isdu_bids.files import file_sha256
from isdu_bids.packaged import find_weights
from isdu_bids.segmentation.keras_weights import SynthSegWeights, load_synthseg
from isdu_bids.segmentation.labels import PARC_LABELS
from isdu_bids.segmentation.locating import DEFAULT_FILE, ROBUST_FILE
from isdu_bids.segmentation.region_net import RegionNet, load_region_net
from isdu_bids.segmentation.segment import SegmentationNetwork
from isdu_bids.segmentation.synthseg import RobustSynthSeg

_PARCELLATION_FILE = "synthseg_parc_2.0.h5"


@dataclass(frozen=True)
class LoadedNetwork:
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
    score_net
        File of the network that scores its labels.
    nuclei, nuclei_sha256
        Network that looks at the deep nuclei again where there is a susceptibility map, and its
        file.
    """

    network: SegmentationNetwork
    name: str
    sha256: str
    official: bool | None
    description: str
    score_net: Path | None = None
    nuclei: RegionNet | None = None
    nuclei_sha256: str = ""

    @property
    def flags(self) -> list[str]:
        """What a reader must know of the network, by the names of `isdu_bids.quality.flags`."""
        if self.official is None:
            return ["small_segmentation"]
        return [] if self.official else ["unofficial_synthseg"]


def load_official(weights: str | Path, score_net: str | Path | None) -> LoadedNetwork:
    """Load SynthSeg from a Keras file.

    Raises
    ------
    DataError
        If the file is damaged or holds another network.
    """
    return _synthseg(Path(weights), Path(score_net) if score_net else None, robust=False)


def load_robust(weights: str | Path, score_net: str | Path | None) -> LoadedNetwork:
    """Load the robust variant, as `load_official`."""
    return _synthseg(Path(weights), Path(score_net) if score_net else None, robust=True)


def load_small(weights: str | Path, nuclei: str | Path | None) -> LoadedNetwork:
    """Load the small networks of this package.

    Raises
    ------
    DataError
        If a file is damaged, or the networks do not belong together.
    """
    path = Path(weights)
    network = load_region_net(path)
    second = load_region_net(Path(nuclei)) if nuclei else None
    if network.inputs != 1 or (second and (second.inputs, second.labels) != (2, network.labels)):
        raise DataError(
            f"{path} must be a network of the magnitude, and {nuclei} one of magnitude and "
            "susceptibility with the same labels; exchange the files, or leave one out"
        )
    with safe_open(path, framework="pt") as file:
        details = file.metadata()["description"]
    description = f"the small network of isdu-bids, made in the manner of SynthSeg ({details})"
    return LoadedNetwork(
        network,
        path.stem,
        file_sha256(path),
        None,
        description,
        nuclei=second,
        nuclei_sha256=file_sha256(Path(nuclei)) if nuclei else "",
    )


def _synthseg(path: Path, score_net: Path | None, *, robust: bool) -> LoadedNetwork:
    weights = load_synthseg(path)
    is_robust = isinstance(weights.network, RobustSynthSeg)
    if weights.network.labels == PARC_LABELS or robust != is_robust:
        wanted, file = ("robust", ROBUST_FILE) if robust else ("synthseg", DEFAULT_FILE)
        raise DataError(
            f"{path} holds another network than {wanted}; give {file} or its folder by "
            "--synthseg-weights"
        )
    variant = "the robust variant of SynthSeg" if robust else "SynthSeg"
    origin = weights.name if weights.official else f"{weights.name}, not an official file"
    description = f"{variant} ({origin})"
    network, name = weights.network, weights.name
    return LoadedNetwork(network, name, weights.sha256, weights.official, description, score_net)


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
