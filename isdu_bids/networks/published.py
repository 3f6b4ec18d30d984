"""The published PyTorch checkpoints of ISDU-QSMNet and MoDL-QSM."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from isdu_bids.errors import DataError
from isdu_bids.networks.unrolled import Architecture, ISDUQSMNet

#: Normalisation of the published checkpoints (float32 constants of their training statistics).
PUBLISHED_CHI_MEAN_PPM, PUBLISHED_CHI_STD_PPM = -0.002703, 0.02892724


def load_published(path: Path, iterations: int | None) -> tuple[ISDUQSMNet, str]:
    """Load either published format: a bare state dict (shared), or ``model_0 .. model_{K-1}``.

    Parameters
    ----------
    path
        A PyTorch file.
    iterations
        K of a bare state dict, which does not store it.

    Returns
    -------
    network, description
        The network, and where it comes from.

    Raises
    ------
    DataError
        If the file is damaged or of another network, or K is not known.
    """
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
