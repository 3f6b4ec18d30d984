"""The official SynthSeg weights, which are Keras files (HDF5), read without Keras."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from isdu_bids.errors import DataError
from isdu_bids.files import file_sha256
from isdu_bids.segmentation.labels import PARC_LABELS, SCORED, SYNTHSEG1_LABELS, SYNTHSEG_LABELS
from isdu_bids.segmentation.locating import DEFAULT_FILE, ROBUST_FILE
from isdu_bids.segmentation.scores import ScoreNet
from isdu_bids.segmentation.synthseg import RobustSynthSeg, SynthSeg, UNet

logger = logging.getLogger(__name__)
#: Parameters of a layer by name: kernel, bias, gamma, beta, moving_mean, moving_variance.
Layers: TypeAlias = dict[str, dict[str, npt.NDArray[np.float32]]]

#: SHA-256 of the files that FreeSurfer and the authors distribute.
OFFICIAL: dict[str, str] = {
    "7d2e32d298fe38dc51ea38e6a8e8fc5c665d56b63cddb409e8b199535f8b5298": "synthseg_1.0.h5",
    "f190bfd742f450ef3ca2c9df9ed4d2e0232b3a74471da5e51b7770bacdf80c3e": "synthseg_2.0.h5",
    "7bc30bf5c3d204f20c4a6cb5a283aedbcab6af1de927cda783f59b67d19cb01c": "synthseg_robust_2.0.h5",
    "83bb1de76fb6f173c6dacacd433f81209fc6abb1dbc179a930ec06ecabbeb684": "synthseg_parc_2.0.h5",
    "fb92e37daa0842bdd8a03bc06a3b36b0d38810e31c714659cedd09119c0abfb7": "synthseg_qc_2.0.h5",
}

_LABELS = {len(labels): labels for labels in (SYNTHSEG_LABELS, SYNTHSEG1_LABELS, PARC_LABELS)}
_CONVOLUTION = {"kernel": "weight", "bias": "bias"}
_NORM = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


@dataclass(frozen=True)
class SynthSegWeights:
    """A SynthSeg network, and what a sidecar says about its file.

    ``official`` files have a SHA-256 of `OFFICIAL`, and its name; others the name of the file.
    """

    name: str
    network: SynthSeg
    sha256: str
    official: bool


def load_synthseg(path: Path) -> SynthSegWeights:
    """Read a SynthSeg file; what it holds (1.0, 2.0, robust, parcellation) is seen by its layers.

    Raises
    ------
    DataError
        If the file is missing, damaged, or its layers are not those of SynthSeg.
    """
    layers = read_layers(path)
    networks = {name.partition("_conv_downarm")[0] for name in layers if "_conv_downarm" in name}
    if networks == {"unet", "l2l", "unet2"}:
        groups, denoiser, unet = (_unet(layers, name, path) for name in ("unet", "l2l", "unet2"))
        network: SynthSeg = RobustSynthSeg(groups, denoiser, unet, _labels(unet, path))
    elif networks in ({"unet"}, {"unet_parc"}):
        unet = _unet(layers, networks.pop(), path)
        network = SynthSeg(unet, _labels(unet, path))
    else:
        found = ", ".join(sorted(networks or layers)[:5]) or "none"
        raise DataError(
            f"{path}: no SynthSeg segmentation network (layers found: {found}); "
            f"give {DEFAULT_FILE}, {ROBUST_FILE} or synthseg_parc_2.0.h5"
        )
    if layers:
        logger.warning("%s: layers not used: %s", path, ", ".join(sorted(layers)))
    sha256 = file_sha256(path)
    official = sha256 in OFFICIAL
    return SynthSegWeights(
        OFFICIAL.get(sha256, path.name), network.eval().requires_grad_(False), sha256, official
    )


def load_scores(path: Path) -> ScoreNet:
    """Read the network that scores segmentations (``synthseg_qc_2.0.h5``).

    Raises
    ------
    DataError
        If the file is missing, damaged, or its layers are not those of this network.
    """
    layers = read_layers(path)
    kernel, _, _, groups, features = _shape(layers, "qc_conv_downarm_0_0", path)
    levels = sum(name.startswith("qc_conv_downarm_") for name in layers) // 2
    network = ScoreNet(groups, features=features, levels=levels, kernel=kernel)
    for number, level in enumerate(network.down):
        names = {
            f"qc_conv_downarm_{number}_0": "first",
            f"qc_conv_downarm_{number}_1": "second",
            f"qc_expand_down_merge_{number}": "beside",
            f"qc_bn_down_{number}": "norm",
        }
        for name, part in names.items():
            _copy(layers.get(name, {}), level.get_submodule(part), name, path)
    for number, convolution in enumerate(network.final):
        name = f"qc_final_conv_{number}"
        _copy(layers.get(name, {}), convolution, name, path)
    if groups != len(SCORED) + 1:
        raise DataError(f"{path}: {groups} groups of labels; SynthSeg's scores have 9")
    return network.eval().requires_grad_(False)


def read_layers(path: Path) -> Layers:
    """Parameters by layer and name, whatever groups a Keras HDF5 file wraps them in.

    Raises
    ------
    DataError
        If the file cannot be read.
    """
    import h5py

    layers: Layers = {}

    def collect(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and name.count("/"):
            *_, layer, parameter = name.split("/")
            layers.setdefault(layer, {})[parameter.partition(":")[0]] = np.asarray(item[()])

    try:
        with h5py.File(path, "r") as file:
            file.visititems(collect)
    except OSError as error:
        raise DataError(
            f"{path}: not a readable HDF5 file ({error}); download it again and compare its SHA-256"
        ) from error
    return layers


def _unet(layers: Layers, prefix: str, path: Path) -> UNet:
    """Build the U-Net whose layers begin with ``prefix``, and take them out of ``layers``."""
    levels = sum(name.startswith(f"{prefix}_conv_downarm_") for name in layers) // 2
    kernel, _, _, in_channels, features = _shape(layers, f"{prefix}_conv_downarm_0_0", path)
    *_, out_channels = _shape(layers, f"{prefix}_likelihood", path)
    unskipped = 0
    for level in range(levels - 1):
        *_, inputs, _ = _shape(layers, f"{prefix}_conv_uparm_{2 * levels - 2 - level}_0", path)
        unskipped += inputs == features * 2 ** (level + 1)
    unet = UNet(
        in_channels,
        out_channels,
        features=features,
        levels=levels,
        kernel=kernel,
        unskipped=unskipped,
    )
    for name, module in _keras_names(unet, prefix):
        _copy(layers.pop(name, {}), module, name, path)
    return unet


def _keras_names(unet: UNet, prefix: str) -> Iterator[tuple[str, nn.Module]]:
    """Modules by the names of their Keras layers; the way up is counted on after the way down."""
    blocks = [
        *((f"downarm_{level}", block) for level, block in enumerate(unet.down)),
        *((f"uparm_{number}", block) for number, block in enumerate(unet.up, len(unet.down))),
    ]
    for name, block in blocks:
        convolutions = [module for module in block.modules() if isinstance(module, nn.Conv3d)]
        for index, convolution in enumerate(convolutions):
            yield f"{prefix}_conv_{name}_{index}", convolution
    for level, norm in enumerate(unet.down_norms):
        yield f"{prefix}_bn_down_{level}", norm
    for step, norm in enumerate(unet.up_norms):
        yield f"{prefix}_bn_up_{step}", norm
    yield f"{prefix}_likelihood", unet.likelihood


def _copy(
    parameters: Mapping[str, npt.NDArray[np.float32]], module: nn.Module, layer: str, path: Path
) -> None:
    """Fill a module; kernels ``(x, y, z, in, out)`` become ``(out, in, x, y, z)``."""
    state = module.state_dict()
    for keras, ours in (_CONVOLUTION if isinstance(module, nn.Conv3d) else _NORM).items():
        if keras not in parameters:
            raise DataError(f"{path}: layer {layer} has no {keras}; is this a SynthSeg file?")
        array = parameters[keras]
        if keras == "kernel" and array.ndim == 5:
            array = array.transpose(4, 3, 0, 1, 2)
        if array.shape != tuple(state[ours].shape):
            raise DataError(
                f"{path}: layer {layer}, {keras}: shape {array.shape} instead of "
                f"{tuple(state[ours].shape)}; is this a SynthSeg file?"
            )
        state[ours].copy_(torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)))


def _shape(layers: Layers, layer: str, path: Path) -> tuple[int, ...]:
    kernel = layers.get(layer, {}).get("kernel")
    if kernel is None or kernel.ndim != 5:
        raise DataError(f"{path}: layer {layer} has no 3D kernel; is this a SynthSeg file?")
    return kernel.shape


def _labels(unet: UNet, path: Path) -> tuple[int, ...]:
    channels = unet.likelihood.out_channels
    if channels not in _LABELS:
        raise DataError(
            f"{path}: {channels} output channels; SynthSeg has {', '.join(map(str, _LABELS))}"
        )
    return _LABELS[channels]
