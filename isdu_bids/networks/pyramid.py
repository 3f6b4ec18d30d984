"""Run a `MultiScale` denoiser in boxes, at every resolution only around the mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

from isdu_bids.networks.blocks import block_stages
from isdu_bids.networks.boxes import (
    Active,
    Boxes,
    Features,
    Region,
    Step,
    convolution,
    convolved,
    empty_maps,
    finish,
)
from isdu_bids.networks.multiscale import MultiScale
from isdu_bids.networks.stages import Stage, folded

_LEVELS = 3


@dataclass(frozen=True)
class Pyramid:
    """Inference form of a `MultiScale`: chains of stages, and what leads from one grid to another.

    Attributes
    ----------
    down
        Chains at full, half and quarter resolution, on the way down.
    coarser
        Strided convolutions, from full to half and from half to quarter resolution.
    up
        Chains at full and half resolution behind the sum with what comes from below.
    finer
        Pointwise convolutions before that sum, from half and from quarter resolution.
    """

    down: tuple[list[Stage], ...]
    coarser: tuple[Stage, Stage]
    up: tuple[list[Stage], list[Stage]]
    finer: tuple[Stage, Stage]

    @classmethod
    def of(cls, net: MultiScale) -> Pyramid:
        """Fold the batch norms of a trained denoiser."""
        return cls(
            down=(
                [folded(net.head), *block_stages(net.full_down)],
                block_stages(net.half_down),
                block_stages(net.quarter),
            ),
            coarser=(folded(net.to_half), folded(net.to_quarter)),
            up=(
                [
                    *block_stages(net.full_up),
                    folded(net.tail1),
                    folded(net.tail2, relu=False),
                ],
                block_stages(net.half_up),
            ),
            finer=(folded(net.from_half, relu=False), folded(net.from_quarter, relu=False)),
        )

    def needed(self, output: int | None) -> tuple[list[int | None], list[int | None]]:
        """Voxels around the mask where the chains down and up must be right, by level.

        ``output`` is that of the denoiser. Interpolation looks one coarse voxel further.
        """
        if output is None:
            return [None] * _LEVELS, [None] * _LEVELS
        up, joined = [output], [output + _reach(self.up[0])]
        for level in range(1, _LEVELS):
            up.append(-(-joined[-1] // 2) + 1)
            chain = self.up[level] if level < _LEVELS - 1 else []
            joined.append(up[-1] + _reach(chain))
        down = [joined[-1]]
        for level in range(_LEVELS - 2, -1, -1):
            below = 2 * (down[0] + _reach(self.down[level + 1])) + 1
            down.insert(0, max(joined[level], below))
        return [*down], [*up]

    def reach(self, output: int | None) -> int:
        """Voxels around the mask that a volume must hold for `run` to be exact."""
        needed, _ = self.needed(output)
        seen, furthest = 0, 0
        for level, (chain, limit) in enumerate(zip(self.down, needed, strict=True)):
            seen = -(-seen // 2) + _reach(chain) if level else _reach(chain)
            kept = seen if limit is None else min(seen, limit)
            furthest = max(furthest, kept << level)
        if output is None:
            for chain in reversed(self.up):
                seen = 2 * seen + 3 + _reach(chain)
            furthest = max(furthest, seen)
        return furthest

    def run(
        self, volume: torch.Tensor, background: torch.Tensor, active: Active, needed: int | None
    ) -> torch.Tensor:
        """Output of the denoiser for one volume; arguments as for `boxes.run_stages`."""
        shape = volume.shape[-3:]
        actives = _actives(active)
        down, up = self.needed(needed)
        features = Features.of(volume, background, active.boxes.dtype)
        features = replace(features, maps=_multiple_of_four(features.maps))
        levels = [convolved(features, self.down[0], actives[0], down[0])]
        for level in (1, 2):
            coarse = _coarser(levels[-1], self.coarser[level - 1], actives[level])
            levels.append(convolved(coarse, self.down[level], actives[level], down[level]))
        features = levels.pop()
        for level in (1, 0):
            features = convolved(features, [self.finer[level]], actives[level + 1], up[level + 1])
            chain = self.up[level]
            pointwise = [] if any(stage.reach for stage in chain) else chain
            joined = None if needed is None else up[level] + _reach(chain)  # type: ignore[operator]
            features = _joined(levels.pop(), features, pointwise, actives[level], joined)
            if chain is not pointwise:
                features = convolved(features, chain, actives[level], up[level])
        return features.volume()[:, : shape[0], : shape[1], : shape[2]]


def _coarser(features: Features, stage: Stage, active: Active) -> Features:
    """Merge blocks of 2^3 voxels by a strided convolution."""
    step = Step.of(stage, features.constant, features.constant, features.maps.dtype)
    shape = [n // 2 for n in features.maps.shape[-3:]]
    target = empty_maps(len(step.constant), shape, features.maps)
    reach = -(-features.reach // 2)
    for region in active.regions(reach):
        x, y, z = (slice(2 * part.start, 2 * part.stop) for part in region)
        window = features.maps[..., x, y, z]
        output = convolution(window, step.weight, step.bias, stride=2)
        step.activated(output, out=target[(..., *region)])
    return Features(target, step.constant, reach)


def _joined(
    fine: Features,
    coarse: Features,
    pointwise: Sequence[Stage],
    active: Active,
    needed: int | None,
) -> Features:
    """Sum of fine features and interpolated coarse ones, ReLU, then pointwise convolutions."""
    dtype = fine.maps.dtype
    steps = [Step.of_sum(fine.constant + coarse.constant, dtype)]
    for stage in pointwise:
        steps.append(Step.of(stage, steps[-1].constant, steps[-1].constant, dtype))
    shape = fine.maps.shape[-3:]
    target = empty_maps(len(steps[-1].constant), shape, fine.maps) if pointwise else fine.maps
    reach = max(fine.reach, 2 * coarse.reach + 3)
    for region in active.regions(reach if needed is None else min(reach, needed)):
        output = _interpolated(coarse.maps, region) + fine.maps[(..., *region)]
        output += steps[0].bias.reshape(1, -1, 1, 1, 1)
        finish(output, steps, target[(..., *region)])
    return Features(target, steps[-1].constant, reach)


def _interpolated(maps: torch.Tensor, region: Region) -> torch.Tensor:
    """Coarse maps on a box of the grid that is twice as fine, as `F.interpolate` has them."""
    parts: list[slice] = []
    cuts: list[slice] = []
    short: list[int] = []
    for part, n in zip(region, maps.shape[-3:], strict=True):
        first, last = part.start // 2 - 1, -(-part.stop // 2) + 1
        parts.append(slice(max(0, first), min(n, last)))
        start = part.start - 2 * first
        cuts.append(slice(start, start + part.stop - part.start))
        short[:0] = [parts[-1].start - first, last - parts[-1].stop]  # F.pad begins at the last
    x, y, z = parts
    window = maps[..., x, y, z]
    if any(short):
        window = F.pad(window, short, mode="replicate")
    fine = F.interpolate(window, scale_factor=2.0, mode="trilinear", align_corners=False)
    x, y, z = cuts
    return fine[..., x, y, z]


def _actives(active: Active) -> list[Active]:
    """Where to compute at full, half and quarter resolution."""
    mask = _multiple_of_four(active.mask[None, None].float())
    boxes, levels = active.boxes, []
    for level in range(_LEVELS):
        levels.append(Active(mask[0, 0] > 0, _at_level(boxes, level)))
        mask = F.max_pool3d(mask, 2)
    return levels


def _at_level(boxes: Boxes, level: int) -> Boxes:
    reach = boxes.max_reach_voxels
    return boxes if reach is None else replace(boxes, max_reach_voxels=-(-reach >> level))


def _multiple_of_four(maps: torch.Tensor) -> torch.Tensor:
    short = [-n % 4 for n in maps.shape[-3:]]
    return F.pad(maps, (0, short[2], 0, short[1], 0, short[0])).contiguous(
        memory_format=torch.channels_last_3d
    )


def _reach(stages: Sequence[Stage]) -> int:
    return sum(stage.reach for stage in stages)
