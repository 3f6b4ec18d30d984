"""Weights files: our own (safetensors, architecture inside) and the published PyTorch ones."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from isdu_bids.errors import DataError
from isdu_bids.files import file_sha256, replacing, write_text
from isdu_bids.networks.unrolled import Architecture, ISDUQSMNet
from isdu_bids.packaged import WEIGHTS_FOLDER

#: Normalisation of the published checkpoints (float32 constants of their training statistics).
PUBLISHED_CHI_MEAN_PPM, PUBLISHED_CHI_STD_PPM = -0.002703, 0.02892724

DEFAULT_WEIGHTS = "isdu_k4"

#: Beside weights files, in the format of ``sha256sum``.
SUMS_FILE = "SHA256SUMS"


@dataclass(frozen=True)
class Weights:
    """A network ready for inference, and what a sidecar says about it.

    ``trained_at_mm`` is the voxel size of weights that have seen axial slices of that size only,
    as the published ones; ``None``: trained over a range of voxel sizes and directions of B0.
    """

    name: str
    network: ISDUQSMNet
    sha256: str
    description: str
    trained_at_mm: float | None = None


def save_weights(
    path: Path, network: ISDUQSMNet, description: str, trained_at_mm: float | None = None
) -> None:
    """Write a network as safetensors; its architecture and description travel as metadata."""
    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    metadata = {
        "architecture": json.dumps(network.architecture.as_dict()),
        "description": description,
    }
    if trained_at_mm is not None:
        metadata["trained_at_mm"] = str(trained_at_mm)
    with replacing(path) as partial:
        save_file(tensors, partial, metadata)


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
        A name from `available_weights`, a ``.safetensors`` file of this package, or a published
        ISDU-QSMNet checkpoint (``.pth``, ``.pt``).
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
            network, description = _load_published(path, iterations)
            trained_at_mm = 1.0
    except (SafetensorError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise DataError(f"{path}: not usable as ISDU-QSMNet weights ({error})") from error
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


def _load_own(path: Path) -> tuple[ISDUQSMNet, str, float | None]:
    with safe_open(path, framework="pt") as archive:
        metadata = archive.metadata() or {}
        tensors = {key: archive.get_tensor(key) for key in archive.keys()}  # noqa: SIM118
    network = ISDUQSMNet(Architecture(**json.loads(metadata["architecture"])))
    network.load_state_dict(tensors)
    size = metadata.get("trained_at_mm")
    return network, metadata["description"], float(size) if size else None


def _load_published(path: Path, iterations: int | None) -> tuple[ISDUQSMNet, str]:
    """Load either published format: a bare state dict (shared), or ``model_0 .. model_{K-1}``."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise DataError(f"{path}: not a PyTorch state dict that loads safely ({error})") from error
    shared = "model_0" not in content
    if shared and iterations is None:
        raise DataError(
            f"{path} does not store its number of iterations K; give it by "
            "--weights-iterations (1 for ISDU K = 1, 4 for MoDL-QSM-SW)"
        )
    copies = (
        [content] if shared else [content[f"model_{k}"] for k in range(int(content["K_unrolling"]))]
    )
    network = ISDUQSMNet(
        Architecture(
            iterations=iterations or len(copies) if shared else len(copies),
            shared=shared,
            chi_mean_ppm=PUBLISHED_CHI_MEAN_PPM,
            chi_std_ppm=PUBLISHED_CHI_STD_PPM,
            dc_value=1 / 3,
        )
    )
    for denoiser, published in zip(network.denoisers, copies, strict=True):
        if float(published["p"]) != 2:
            raise DataError(f"{path}: a SpiNet checkpoint (p != 2) has no closed-form solution")
        denoiser.load_state_dict(_renamed(published))
    lambdas = torch.stack([published["lambda_val"].reshape(()) for published in copies])
    if torch.any(lambdas <= 0):
        raise DataError(f"{path}: lambda is not positive; data consistency would be singular")
    network.log_lambdas.data = lambdas.float().log()
    return network, f"published checkpoint {path.name}"


def _renamed(published: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Translate ``gen.<position>`` keys to the names of `WideResNet`."""
    names = {"gen.0.": "head.", "gen.2.": "blocks.", "gen.3.": "tail1.", "gen.5.": "tail2."}
    names["gen.7."] = "tail3."
    return {
        names[key[:6]] + key[6:]: tensor for key, tensor in published.items() if key[:6] in names
    }
