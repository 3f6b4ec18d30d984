"""The small segmentation network that comes with the package.

A U-Net whose finest level is 2 mm: each block of 2 x 2 x 2 voxels enters as eight channels and
leaves as eight sets of logits, so that borders stay at 1 mm while the work is an eighth.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import nn

from isdu_bids.errors import DataError
from isdu_bids.networks.archive import read_network, write_network
from isdu_bids.physics.padding import Box
from isdu_bids.segmentation.labels import DEEP_NUCLEI

DEFAULT_FEATURES = (16, 32, 64, 96, 96)
#: Unit of susceptibility as networks see it.
CHI_UNIT_PPM = 0.1


class RegionNet(nn.Module):
    """U-Net from a volume of 1 mm voxels to the logits of every region.

    Parameters
    ----------
    labels
        FreeSurfer label of each output channel, 0 (background) first.
    features
        Channels per level; the first works on 2 mm voxels, each further one on twice that.
    inputs
        1: magnitude; 2: and susceptibility.
    """

    def __init__(
        self,
        labels: Sequence[int],
        features: Sequence[int] = DEFAULT_FEATURES,
        inputs: int = 1,
    ) -> None:
        super().__init__()
        self.labels, self.features, self.inputs = tuple(labels), tuple(features), inputs
        ins = [8 * inputs, *self.features]
        self.down = nn.ModuleList(_block(a, b) for a, b in zip(ins, self.features, strict=False))
        pairs = list(zip(self.features, self.features[1:], strict=False))
        self.up = nn.ModuleList(_block(fine + coarse, fine) for fine, coarse in reversed(pairs))
        self.logits = nn.Conv3d(self.features[0], 8 * len(self.labels), 1)

    @property
    def multiple(self) -> int:
        """Sizes must be multiples of this."""
        return int(2 ** len(self.features))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits ``(batch, label, x, y, z)`` of an image ``(batch, input, x, y, z)``.

        RAS axes, 1 mm voxels, intensities from 0 to 1, susceptibility in units of `CHI_UNIT_PPM`;
        sizes are multiples of `multiple`.
        """
        return unfold(self.folded_logits(image))

    def folded_logits(self, image: torch.Tensor) -> torch.Tensor:
        """Logits as the network makes them, ``(batch, 8 label, x / 2, y / 2, z / 2)``."""
        x = fold(image)
        skips = []
        for level, block in enumerate(self.down):
            x = block(F.max_pool3d(x, 2) if level else x)
            skips.append(x)
        x = skips.pop()
        for block in self.up:
            x = block(torch.cat([skips.pop(), F.interpolate(x, scale_factor=2.0)], 1))
        logits: torch.Tensor = self.logits(x)
        return logits


#: A brain and its rim, in voxels of 1 mm; multiples of what the network needs.
WINDOW = (160, 224, 160)
#: From the middle of the deep nuclei to that of the brain.
TO_CENTRE = (0, -10, -5)


def surroundings(network: RegionNet, image: torch.Tensor) -> tuple[slice, slice, slice]:
    """Box around the deep nuclei, where the network looks a second time.

    It was trained on volumes around the brain and finds the nuclei wherever they are; but in air
    far from the head, which it has not seen, it may see cortex.

    Parameters
    ----------
    network
        Trained.
    image
        ``(1, 1, x, y, z)``, as for `RegionNet.forward`.

    Returns
    -------
    tuple of slice
        Of the image's last axes; everything if no nuclei were found.
    """
    folded = network.folded_logits(image)[0]  # unfolded, they would fill the memory twice
    best = folded.view(8, -1, *folded.shape[1:]).argmax(1)
    wanted = [network.labels.index(label) for label in DEEP_NUCLEI]
    found = torch.isin(best, torch.tensor(wanted, device=best.device)).nonzero()[:, 1:]
    if len(found) == 0:
        x, y, z = (slice(0, n) for n in image.shape[2:])
        return x, y, z
    nuclei = found.median(0)[0].tolist()
    middle = [2 * place + shift for place, shift in zip(nuclei, TO_CENTRE, strict=True)]
    return box_around(middle, WINDOW, image.shape[2:])


def box_around(middle: Sequence[float], size: Sequence[int], shape: Sequence[int]) -> Box:
    """Box of a size around a place, moved into a volume; cut off where that is smaller."""
    starts = (
        max(0, min(n - length, round(place) - length // 2))
        for place, length, n in zip(middle, size, shape, strict=True)
    )
    x, y, z = (
        slice(start, min(start + length, n))
        for start, length, n in zip(starts, size, shape, strict=True)
    )
    return x, y, z


def fold(image: torch.Tensor) -> torch.Tensor:
    """Blocks of 2 x 2 x 2 voxels as channels: ``(b, c, 2x, 2y, 2z)`` to ``(b, 8c, x, y, z)``."""
    b, c, x, y, z = image.shape
    blocks = image.reshape(b, c, x // 2, 2, y // 2, 2, z // 2, 2)
    return blocks.permute(0, 3, 5, 7, 1, 2, 4, 6).reshape(b, 8 * c, x // 2, y // 2, z // 2)


def unfold(channels: torch.Tensor) -> torch.Tensor:
    """Inverse of `fold`."""
    b, c, x, y, z = channels.shape
    blocks = channels.reshape(b, 2, 2, 2, c // 8, x, y, z)
    return blocks.permute(0, 4, 5, 1, 6, 2, 7, 3).reshape(b, c // 8, 2 * x, 2 * y, 2 * z)


def _block(n_in: int, n_out: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for n in (n_in, n_out):
        layers += [nn.Conv3d(n, n_out, 3, padding=1, bias=False), nn.BatchNorm3d(n_out), nn.ReLU()]
    return nn.Sequential(*layers)


def save_region_net(path: Path, network: RegionNet, description: str) -> None:
    """Write a network as safetensors in half precision; what it is travels as metadata."""
    metadata = {
        "family": "region_net",
        "labels": json.dumps(network.labels),
        "features": json.dumps(network.features),
        "inputs": json.dumps(network.inputs),
        "description": description,
    }
    write_network(path, network, metadata, half=True)


def load_region_net(path: Path) -> RegionNet:
    """Read a network that `save_region_net` wrote, ready for inference.

    Raises
    ------
    DataError
        If the file is missing, damaged or holds another kind of network.
    """
    try:
        tensors, metadata = read_network(path)
        kind = {name: json.loads(metadata[name]) for name in ("labels", "features")}
        network = RegionNet(**kind, inputs=json.loads(metadata.get("inputs", "1")))
        network.load_state_dict(tensors)
    except (OSError, SafetensorError, KeyError, RuntimeError, ValueError) as error:
        raise DataError(
            f"{path} holds no segmentation network of isdu-bids ({error}); "
            "give the file of one, or leave the option out"
        ) from error
    return network.eval().requires_grad_(False)
