"""Weights files: our own (safetensors, architecture inside) and the published PyTorch ones."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from isdu_bids.errors import DataError
from isdu_bids.networks.unrolled import Architecture, ISDUQSMNet

#: Normalisation of the published checkpoints (float32 constants of their training statistics).
PUBLISHED_CHI_MEAN_PPM, PUBLISHED_CHI_STD_PPM = -0.002703, 0.02892724

DEFAULT_WEIGHTS = "isdu_preliminary"


@dataclass(frozen=True)
class Weights:
    """A network ready for inference, and what a sidecar says about it."""

    name: str
    network: ISDUQSMNet
    sha256: str
    description: str
    trained_at_mm: float | None = None


def save_weights(path: Path, network: ISDUQSMNet, description: str) -> None:
    """Write a network as safetensors; its architecture and description travel as metadata."""
    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    metadata = {
        "architecture": json.dumps(network.architecture.as_dict()),
        "description": description,
    }
    save_file(tensors, path, metadata)


def available_weights() -> dict[str, Path]:
    """Weights that come with the package, by name."""
    folder = Path(str(files("isdu_bids") / "data" / "weights"))
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


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
            network, description = _load_own(path)
        else:
            network, description = _load_published(path, iterations)
    except (SafetensorError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise DataError(f"{path}: not usable as ISDU-QSMNet weights ({error})") from error
    # published networks have seen 1 mm only; ours are trained over a range of voxel sizes
    trained_at_mm = None if path.suffix == ".safetensors" else 1.0
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
    return hashlib.sha256(weights_path(name_or_path).read_bytes()).hexdigest()


def _load_own(path: Path) -> tuple[ISDUQSMNet, str]:
    with safe_open(path, framework="pt") as archive:
        metadata = archive.metadata() or {}
        tensors = {key: archive.get_tensor(key) for key in archive.keys()}  # noqa: SIM118
    network = ISDUQSMNet(Architecture(**json.loads(metadata["architecture"])))
    network.load_state_dict(tensors)
    return network, metadata["description"]


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
            depth=18,
            features=32,
            channels=2,
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
