"""Weights files of inversion networks, by name or path: our own and the published ones."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import nn

from isdu_bids.errors import DataError
from isdu_bids.files import file_sha256, write_text
from isdu_bids.networks.archive import read_network, write_network
from isdu_bids.networks.families import DEFAULT_FAMILY, FAMILIES, family_of
from isdu_bids.networks.published import load_published
from isdu_bids.networks.registry import DEFAULT_WEIGHTS
from isdu_bids.packaged import WEIGHTS_FOLDER

#: Beside weights files, in the format of ``sha256sum``.
SUMS_FILE = "SHA256SUMS"


@dataclass(frozen=True)
class Weights:
    """A network of any family ready for inference, and what a sidecar says about it.

    ``network`` is a module as `isdu_bids.networks.families` describes it. ``trained_at_mm`` is the
    voxel size of weights that have seen axial slices of that size only, as the published ones;
    ``None``: trained over a range of voxel sizes and directions of B0.
    """

    name: str
    network: Any
    sha256: str
    description: str
    trained_at_mm: float | None = None

    @property
    def family(self) -> str:
        """Name of the network's family."""
        return family_of(self.network.architecture)


def save_weights(
    path: Path, network: nn.Module, description: str, trained_at_mm: float | None = None
) -> None:
    """Write a network; its family, architecture and description travel as metadata."""
    architecture: Any = network.architecture
    metadata = {
        "family": family_of(architecture),
        "architecture": json.dumps(asdict(architecture)),
        "description": description,
    }
    if trained_at_mm is not None:
        metadata["trained_at_mm"] = str(trained_at_mm)
    write_network(path, network, metadata)


def available_weights() -> dict[str, Path]:
    """Weights by name: those that come with the package, and those that the user added."""
    packaged = WEIGHTS_FOLDER.glob("isdu_*.safetensors")  # those of other networks lie there too
    files = (*sorted(user_folder().glob("*.safetensors")), *sorted(packaged))
    return {path.stem: path for path in files}


def recorded_sha256(name: str) -> str | None:
    """SHA-256 of known weights as written down when they were packaged or added."""
    path = available_weights().get(name)
    if path is None or not (sums := path.with_name(SUMS_FILE)).is_file():
        return None
    lines = (line.split() for line in sums.read_text().splitlines())
    return next((digest for digest, file in lines if file == path.name), None)


def user_folder() -> Path:
    """Where `add_weights` puts files: ``$ISDU_BIDS_WEIGHTS``, or below the user's data folder."""
    if folder := os.environ.get("ISDU_BIDS_WEIGHTS"):
        return Path(folder)
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "isdu-bids" / "weights"


def add_weights(
    path: Path, name: str | None = None, *, iterations: int | None = None
) -> tuple[Path, Weights]:
    """Make weights known by name: a published checkpoint becomes a safetensors file that holds K.

    Parameters
    ----------
    path
        Any file that `load_weights` reads.
    name
        New name, by default that of the file.
    iterations
        K of published checkpoints that do not store it.

    Returns
    -------
    tuple
        The new file, and what it holds.

    Raises
    ------
    DataError
        If the file is not usable, or the name is taken.
    """
    weights = load_weights(path, iterations=iterations)
    name = name or Path(path).stem
    if name in available_weights():
        raise DataError(f"weights {name} exist already; choose another name with --name")
    target = user_folder() / f"{name}.safetensors"
    description = f"{weights.description} (added from a file with SHA-256 {weights.sha256})"
    save_weights(target, weights.network, description, weights.trained_at_mm)
    added = load_weights(target)
    sums = target.with_name(SUMS_FILE)
    known = sums.read_text() if sums.is_file() else ""
    write_text(sums, f"{known}{added.sha256}  {target.name}\n")
    return target, added


def load_weights(
    name_or_path: str | Path = DEFAULT_WEIGHTS, *, iterations: int | None = None
) -> Weights:
    """Load weights by the name of a packaged file or by the path of any supported one.

    Parameters
    ----------
    name_or_path
        A name from `available_weights`, a ``.safetensors`` file of this package (of any family), or
        a published ISDU-QSMNet checkpoint (``.pth``, ``.pt``).
    iterations
        K for published checkpoints with shared weights, which do not store it; a network of
        another K would give a wrong map that looks right.

    Raises
    ------
    DataError
        If the file is missing, damaged or of another network.
    """
    path = weights_path(name_or_path)
    try:
        if path.suffix == ".safetensors":
            network, description, trained_at_mm = _load_own(path)
        else:
            network, description = load_published(path, iterations)
            trained_at_mm = 1.0
    except (SafetensorError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise DataError(
            f"{path}: not usable as weights of an inversion network ({error})"
        ) from error
    return Weights(path.stem, network.eval(), weights_sha256(path), description, trained_at_mm)


def weights_path(name_or_path: str | Path) -> Path:
    """File of packaged weights by name, or the path itself.

    Raises
    ------
    DataError
        If there is no such file.
    """
    path = available_weights().get(str(name_or_path), Path(name_or_path))
    if not path.is_file():
        known = ", ".join(available_weights()) or "none"
        raise DataError(f"weights {name_or_path}: no such file; packaged weights are: {known}")
    return path.absolute()


def weights_sha256(name_or_path: str | Path) -> str:
    """SHA-256 of a weights file, which identifies it in every sidecar."""
    return file_sha256(weights_path(name_or_path))


def _load_own(path: Path) -> tuple[nn.Module, str, float | None]:
    tensors, metadata = read_network(path)
    family = metadata.get("family", DEFAULT_FAMILY)  # older files do not say
    if family not in FAMILIES:
        raise DataError(
            f"{path} holds a network of family {family!r}, which does not invert fields; "
            f"known are {', '.join(FAMILIES)}"
        )
    kind = FAMILIES[family]
    network = kind.network(kind.architecture(**json.loads(metadata["architecture"])))
    network.load_state_dict(tensors)
    size = metadata.get("trained_at_mm")
    return network, metadata["description"], float(size) if size else None
