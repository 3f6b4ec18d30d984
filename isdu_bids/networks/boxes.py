"""Run a denoiser in boxes: exact, in little memory, and only where there is a brain.

Far from the mask a denoiser sees one constant, so every feature map is one constant there. Maps are
stored as their *deviation* from that background: it is zero outside the mask dilated by what the
layers so far can see, so that only this region is computed, and padding with zeros continues the
background without an edge. In a volume that holds all that a denoiser sees of the mask, the result
is that of endless empty margins. Where only the output near the mask counts, layers are also left
out where no layer behind them looks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F

from isdu_bids.networks.stages import Stage

Region = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Boxes:
    """How a denoiser is run.

    Attributes
    ----------
    planes, rows
        Size along z and x of the boxes that are computed at a time. Small ones follow the outline
        of the mask and stay in the processor's cache.
    max_reach_voxels
        Voxels around the mask that are computed at most; beyond them the background stands. All
        that a denoiser sees (``None``) is exact, fewer are faster.
    dtype
        Of feature maps and weights.
    whole
        Compute the whole volume, and pad it with zeros as published networks do: their edge
        effects are then part of the result.
    """

    planes: int = 8
    rows: int = 8
    max_reach_voxels: int | None = None
    dtype: torch.dtype = torch.float32
    whole: bool = False


class Active:
    """Where a denoiser must be computed: boxes around the mask, by how far its layers see."""

    def __init__(self, mask: torch.Tensor, boxes: Boxes) -> None:
        self.mask = torch.ones_like(mask) if boxes.whole else mask
        self.boxes = boxes
        self._regions: dict[int, list[Region]] = {}

    def regions(self, reach: int) -> list[Region]:
        """Disjoint boxes that together hold the mask dilated by ``reach`` voxels."""
        if self.boxes.max_reach_voxels is not None:
            reach = min(reach, self.boxes.max_reach_voxels)
        if reach not in self._regions:
            self._regions[reach] = list(self._dilated(reach))
        return self._regions[reach]

    def _dilated(self, reach: int) -> Iterator[Region]:
        nx, ny, nz = self.mask.shape
        for z in _parts(nz, self.boxes.planes):
            for x in _parts(nx, self.boxes.rows):
                seen = self.mask[_wider(x, reach, nx), :, _wider(z, reach, nz)]
                rows = seen.any(2).any(0).nonzero()
                if len(rows):
                    yield x, _wider(slice(int(rows[0]), int(rows[-1]) + 1), reach, ny), z


@dataclass(frozen=True)
class Features:
    """Feature maps between two layers.

    Attributes
    ----------
    maps
        Deviation from the background, ``(1, features, x, y, z)``.
    constant
        The background, ``(features,)``, in double precision.
    reach
        Voxels around the mask where the maps may deviate.
    """

    maps: torch.Tensor
    constant: torch.Tensor
    reach: int = 0

    @classmethod
    def of(cls, volume: torch.Tensor, background: torch.Tensor, dtype: torch.dtype) -> Features:
        """Input of a denoiser, ``(channels, x, y, z)``, which is ``background`` off the mask."""
        deviation = (volume - background.reshape(-1, 1, 1, 1))[None].to(dtype)
        maps = deviation.contiguous(memory_format=torch.channels_last_3d)
        return cls(maps, background.double())

    def volume(self) -> torch.Tensor:
        """Values ``(features, x, y, z)``, float32."""
        return self.maps[0].float() + self.constant.float().reshape(-1, 1, 1, 1)


def run_stages(
    stages: Sequence[Stage],
    volume: torch.Tensor,
    background: torch.Tensor,
    active: Active,
    needed: int | None = None,
) -> torch.Tensor:
    """Output of a denoiser for one volume.

    Parameters
    ----------
    stages
        The denoiser.
    volume
        Input ``(channels, x, y, z)``, float32.
    background
        Value of each channel outside the mask, ``(channels,)``.
    active
        Where to run it, and how.
    needed
        Voxels around the mask where the output counts; ``None``: everywhere.

    Returns
    -------
    torch.Tensor
        ``(channels, x, y, z)``, float32.
    """
    features = Features.of(volume, background, active.boxes.dtype)
    return convolved(features, stages, active, needed).volume()


def convolved(
    features: Features, stages: Sequence[Stage], active: Active, needed: int | None = None
) -> Features:
    """Features behind a chain of stages; those given may be overwritten.

    Parameters
    ----------
    features
        Input.
    stages
        Convolutions of stride 1.
    active
        Where to run them, and how.
    needed
        Voxels around the mask where the output counts; ``None``: everywhere.
    """
    boxes = active.boxes
    maps, constant, reach = features.maps, features.constant, features.reach
    skip_constant = constant
    spare: torch.Tensor | None = None
    skip: torch.Tensor | None = None
    ahead = sum(stage.reach for stage in stages)
    for first, *pointwise in _groups(stages):
        if first.opens_skip:
            skip, skip_constant = maps, constant
        reach += first.reach
        ahead -= first.reach
        edge = -constant if boxes.whole else torch.zeros_like(constant)
        steps = []
        for stage in (first, *pointwise):
            steps.append(Step.of(stage, constant, skip_constant, maps.dtype))
            constant = steps[-1].constant
        n_outputs = len(constant)
        if first.closes_skip and not pointwise:
            assert skip is not None
            target, spare = skip, maps
        elif spare is not None and spare.shape[1] == n_outputs:
            target, spare = spare, None
        else:
            target = empty_maps(n_outputs, maps.shape[-3:], maps)
        for region in active.regions(reach if needed is None else min(reach, needed + ahead)):
            window = _window(maps, region, first.reach, edge)
            output = convolution(window, steps[0].weight, steps[0].bias)
            if first.closes_skip:
                assert skip is not None
                output += skip[(..., *region)]
            finish(output, steps, target[(..., *region)])
        maps = target
    return Features(maps, constant, reach)


@dataclass(frozen=True)
class Step:
    """A stage between deviations from the background at its input and at its output."""

    weight: torch.Tensor
    bias: torch.Tensor
    constant: torch.Tensor
    lowest: torch.Tensor | None

    @classmethod
    def of(cls, stage: Stage, inputs: torch.Tensor, skip: torch.Tensor, dtype: torch.dtype) -> Step:
        """Step of a stage whose input, and whose skip, have these backgrounds."""
        plain = stage.of_constant(inputs, skip)
        constant = plain.relu() if stage.relu else plain
        weight = stage.weight.to(dtype).contiguous(memory_format=torch.channels_last_3d)
        # what the constants do to each other goes into the bias; zero becomes minus the constant
        lowest = -constant.to(dtype).reshape(1, -1, 1, 1, 1) if stage.relu else None
        return cls(weight, (plain - constant).to(dtype), constant, lowest)

    @classmethod
    def of_sum(cls, plain: torch.Tensor, dtype: torch.dtype) -> Step:
        """ReLU of a sum whose backgrounds add up to ``plain``; there is no convolution."""
        constant = plain.relu()
        lowest = -constant.to(dtype).reshape(1, -1, 1, 1, 1)
        return cls(plain.new_empty(0), (plain - constant).to(dtype), constant, lowest)

    def activated(self, output: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
        """ReLU of deviations, in place or into ``out``."""
        out = output if out is None else out
        if self.lowest is None:
            return out.copy_(output)
        return torch.maximum(output, self.lowest, out=out)


def _groups(stages: Sequence[Stage]) -> list[list[Stage]]:
    """Each stage that sees neighbours with the pointwise ones behind it: one pass over the maps."""
    groups: list[list[Stage]] = []
    for stage in stages:
        if stage.reach or not groups:
            groups.append([stage])
        else:
            groups[-1].append(stage)
    return groups


def finish(output: torch.Tensor, steps: Sequence[Step], target: torch.Tensor) -> None:
    """Activate what the first step left, run the pointwise ones, write the result."""
    for step, following in pairwise(steps):
        output = convolution(step.activated(output), following.weight, following.bias)
    steps[-1].activated(output, out=target)


def convolution(
    window: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, stride: int = 1
) -> torch.Tensor:
    """Convolution without padding; ``F.conv3d`` leaves oneDNN for boxes as small as ours."""
    if window.device.type == "cpu" and torch.backends.mkldnn.is_available():
        strides, ones, none = (stride,) * 3, (1, 1, 1), (0, 0, 0)
        return torch.mkldnn_convolution(window, weight, bias, none, strides, ones, 1)
    return F.conv3d(window, weight, bias, stride)


def empty_maps(n_features: int, shape: Sequence[int], like: torch.Tensor) -> torch.Tensor:
    """Return maps that nowhere deviate, of the type and on the device of others."""
    return torch.empty(
        (1, n_features, *shape),
        dtype=like.dtype,
        device=like.device,
        memory_format=torch.channels_last_3d,
    ).zero_()


def _window(maps: torch.Tensor, region: Region, reach: int, edge: torch.Tensor) -> torch.Tensor:
    """Part of the maps that ``region`` sees, filled with ``edge`` outside the volume."""
    if reach == 0:
        return maps[(..., *region)]
    starts = [part.start - reach for part in region]
    shape = [part.stop - part.start + 2 * reach for part in region]
    x, y, z = (_wider(part, reach, n) for part, n in zip(region, maps.shape[-3:], strict=True))
    window = maps[..., x, y, z]
    if list(window.shape[-3:]) == shape:
        return window
    padded = _column(edge, maps).expand(1, maps.shape[1], *shape)
    padded = padded.contiguous(memory_format=torch.channels_last_3d)
    x, y, z = (
        slice(part.start - start, part.stop - start)
        for part, start in zip((x, y, z), starts, strict=True)
    )
    padded[..., x, y, z] = window
    return padded


def _parts(size: int, shortest: int) -> list[slice]:
    """Even parts, none below ``shortest`` unless the whole is."""
    n = max(1, size // shortest)
    return [slice(size * i // n, size * (i + 1) // n) for i in range(n)]


def _wider(part: slice, reach: int, size: int) -> slice:
    return slice(max(0, part.start - reach), min(size, part.stop + reach))


def _column(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return values.to(like.dtype).reshape(1, -1, 1, 1, 1)
