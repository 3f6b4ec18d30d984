"""Brain mask by SynthStrip, a network for heads of any contrast, with FreeSurfer's weights.

Written from its published description. The weights are not part of the package, and this module has
never run with them: its parameters have the names and shapes of the official file.

References
----------
Hoopes et al. 2022, doi:10.1016/j.neuroimage.2022.119474.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from isdu_bids.errors import DataError, UsageError
from isdu_bids.files import file_sha256
from isdu_bids.geometry import ras_axes
from isdu_bids.masking.brain import combined_echoes, trimmed_brain
from isdu_bids.masking.morphology import BoolArray
from isdu_bids.masking.surface import FloatArray
from isdu_bids.packaged import find_weights
from isdu_bids.physics.planes import in_slabs, on_planes
from isdu_bids.physics.resampling import axis_positions, interpolated
from isdu_bids.registry import Prepared

SYNTHSTRIP_FILE = "synthstrip.1.pt"
#: SHA-256 of the file that FreeSurfer distributes.
SYNTHSTRIP_SHA256 = "37417f802196186441aae3e7f385d94f8a98c64a88acaeaa2723af995c653e33"

#: Channels per level.
_WIDTHS = (16, 32, 64, 64, 64, 64, 64)
#: Voxels that three convolutions see beyond their own, made even.
_HALO = 4
#: Edges of what the network sees, in voxels of 1 mm: six halvings must come out even.
_MULTIPLE, _SMALLEST, _LARGEST = 64, 192, 320
#: Distance from the brain where the network has seen nothing (mm).
_FAR_MM = 100.0


class SynthStrip(nn.Module):
    """U-Net from an image to the signed distance (mm) from the brain's surface, negative inside.

    Two 3x3x3 convolutions with LeakyReLU per level, max-pooling, nearest upsampling, the upsampled
    channels before the skipped ones. Parameters are named as in FreeSurfer's file.
    """

    def __init__(self) -> None:
        super().__init__()
        down, up = _WIDTHS[:-1], _WIDTHS[:0:-1]
        joined = [width + skipped for width, skipped in zip(up, reversed(down), strict=True)]
        finest = down[0]
        self.encoder = nn.ModuleList(map(_level, [1, *down[:-1]], down))
        self.decoder = nn.ModuleList(map(_level, [down[-1], *joined[:-1]], up))
        self.remaining = nn.Sequential(
            *_level(joined[-1], finest), nn.Sequential(OrderedDict(conv=_convolution(finest, 1)))
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Distance ``(b, 1, x, y, z)`` of an image of that shape, with edges of 64 n voxels."""
        x = image
        skips = []
        for level in self.encoder:
            skips.append(in_slabs(partial(on_planes, level, x), x.shape[2], _HALO))
            x = F.max_pool3d(skips[-1], 2)
        x = self.decoder[0](x)
        for level in [*self.decoder[1:], self.remaining]:
            x = in_slabs(partial(_upwards, level, x, skips.pop()), 2 * x.shape[2], _HALO)
        return x


def _upwards(
    level: nn.Module, coarse: torch.Tensor, skip: torch.Tensor, rows: slice
) -> torch.Tensor:
    """Join the upsampled coarser level and the skip, on some rows of the finer one."""
    fine = F.interpolate(coarse[:, :, rows.start // 2 : rows.stop // 2], scale_factor=2.0)
    return level(torch.cat([fine, skip[:, :, rows]], dim=1))


def _level(in_channels: int, channels: int) -> nn.Sequential:
    return nn.Sequential(*(
        nn.Sequential(OrderedDict(conv=_convolution(width, channels), activation=nn.LeakyReLU(0.2)))
        for width in (in_channels, channels)
    ))  # fmt: skip


def _convolution(in_channels: int, channels: int) -> nn.Conv3d:
    return nn.Conv3d(in_channels, channels, 3, padding=1)


def find_synthstrip(where: Path | None = None) -> Path:
    """File of SynthStrip: the one given, or in the folder given, or FreeSurfer's.

    Raises
    ------
    DataError
        If the file or folder given has no weights.
    UsageError
        If nothing is given, and FreeSurfer or its file is not there.
    """
    path = find_weights(where, SYNTHSTRIP_FILE)
    if path is None:
        raise UsageError(
            f"the mask 'synthstrip' needs {SYNTHSTRIP_FILE} of FreeSurfer, which was not found; "
            "name its file or folder by --synthstrip-weights, set FREESURFER_HOME, or choose "
            "another --mask"
        )
    return path


def locate_synthstrip(*, weights: str | None, **_: Any) -> dict[str, Path]:
    """Find the file of a run that asks for this mask; errors as of `find_synthstrip`."""
    return {"weights": find_synthstrip(Path(weights) if weights else None)}


def prepare_synthstrip(parameters: Mapping[str, Any], _inputs: Mapping[str, Any]) -> Prepared:
    """Tell which weights the mask is made with."""
    path = find_synthstrip(Path(parameters["weights"]) if parameters["weights"] else None)
    sha256 = file_sha256(path)
    flags = () if sha256 == SYNTHSTRIP_SHA256 else ("unofficial_synthstrip",)
    return Prepared(parameters, {"weights": path.name, "weights_sha256": sha256}, flags)


def load_synthstrip(path: Path) -> SynthStrip:
    """Read FreeSurfer's file; nothing in it is executed.

    Raises
    ------
    DataError
        If the file is damaged, or its parameters are not those of SynthStrip.
    """
    network = SynthStrip()
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        network.load_state_dict(content["model_state_dict"])
    except Exception as error:
        raise DataError(
            f"{path}: no weights of SynthStrip ({error}); copy {SYNTHSTRIP_FILE} again and compare "
            "its SHA-256"
        ) from error
    return network.eval().requires_grad_(False)


def synthstrip_mask(
    magnitude: FloatArray,
    *,
    quality: FloatArray,
    voxel_size_mm: Sequence[float],
    affine: npt.ArrayLike,
    weights: str | Path | None,
    border_mm: float,
    threshold: float,
) -> BoolArray:
    """Brain and the fluid around it by a network, less its rim where the phase is unreliable.

    Parameters
    ----------
    magnitude, quality, voxel_size_mm, threshold
        As in :func:`isdu_bids.masking.brain.combined_mask`.
    affine
        Voxel to world: the network sees heads from one side only.
    weights
        FreeSurfer's file ``synthstrip.1.pt`` or its folder; by default
        ``$FREESURFER_HOME/models``.
    border_mm
        Distance from the brain up to which a voxel belongs to the mask.

    Raises
    ------
    DataError
        If the magnitude holds nothing, no brain is found in it, or the weights are damaged.
    UsageError
        If the weights are not found.
    """
    image = combined_echoes(magnitude)
    network = load_synthstrip(find_synthstrip(Path(weights) if weights else None))
    found = _distance_mm(network, image, voxel_size_mm, affine) < border_mm
    return trimmed_brain(found, "SynthStrip", quality, threshold, voxel_size_mm)


@torch.inference_mode()
def _distance_mm(
    network: nn.Module, image: FloatArray, voxel_size_mm: Sequence[float], affine: npt.ArrayLike
) -> FloatArray:
    """Signed distance from the brain's surface at the voxels of an image."""
    (right, anterior, superior), reversed_ = ras_axes(affine)
    axes = (right, superior, anterior)  # and towards left, inferior, anterior
    flips = [i for i, back in enumerate((not reversed_[0], not reversed_[2], reversed_[1])) if back]
    there, back = zip(
        *(axis_positions(image.shape[axis], voxel_size_mm[axis], False) for axis in axes),
        strict=True,
    )
    turned = torch.from_numpy(image).permute(*axes).flip(flips)
    # the nearest voxel, not between two: as FreeSurfer does it
    head = interpolated(turned, [row.round() for row in there])
    widths = _view_widths(head)
    distance = network(_scaled(F.pad(head, widths))[None, None])[0, 0]
    on_head = F.pad(distance, [-width for width in widths], value=_FAR_MM)
    on_image = interpolated(on_head, back).flip(flips).permute(*np.argsort(axes).tolist())
    distance_mm: FloatArray = on_image.numpy()
    return distance_mm


def _view_widths(head: torch.Tensor) -> list[int]:
    """How far to widen (or, if negative, narrow) a volume on each face, last axis first.

    What is not zero comes to lie in the middle of 192 to 320 voxels per axis.
    """
    widths = []
    for axis, n in reversed(list(enumerate(head.shape))):
        hit = head.amax([other for other in range(3) if other != axis]).nonzero()
        first, last = int(hit[0]), int(hit[-1])
        extent = last + 1 - first
        view = min(max(-(-extent // _MULTIPLE) * _MULTIPLE, _SMALLEST), _LARGEST)
        before = (view - extent) // 2
        widths += [before - first, view - extent - before - (n - 1 - last)]
    return widths


def _scaled(view: torch.Tensor) -> torch.Tensor:
    """Scale to 0-1, from the minimum to the 99th percentile."""
    rising = view - view.min()
    bright = float(np.percentile(rising.numpy(), 99)) or float(rising.max())
    return (rising / bright).clamp(0, 1)
