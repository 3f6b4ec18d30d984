"""Images of random contrast painted from label maps, to train a segmentation network.

Some follow SynthSeg (Billot et al. 2023, doi:10.1016/j.media.2023.102789): every label has
a random mean and spread, so that the network learns shapes and not a contrast. The others are
gradient-echo magnitudes: density times T2* decay, with iron, dropout near air and coil shading.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import cos, exp, radians, sin
from typing import Literal

import torch
import torch.nn.functional as F

from isdu_bids.physics.padding import mask_box
from isdu_bids.segmentation.labels import DEEP_NUCLEI, REGIONS, SYNTHSEG_LABELS
from isdu_bids.segmentation.region_net import CHI_UNIT_PPM
from isdu_bids.simulation.inverted import as_inverted
from isdu_bids.simulation.random_fields import happens, smooth_noise, uniform
from isdu_bids.simulation.sampling import blurred, nearest_labels
from isdu_bids.simulation.susceptibility import brain_mask, draw_susceptibility
from isdu_bids.simulation.tissues import (
    BRAIN,
    GREY_MATTER_SIGNAL,
    HEAD,
    R2STAR_PER_PPM,
    SIGNALS,
)

_LOOKUP_SIZE = 1024
_FLUID = 24

#: Least distance by which the middle of a training volume may be off, along every axis.
PLAY_MM = 8

#: Labels of training maps that are part of a region (lesions, parts of ventricles).
MERGED_LABELS: Mapping[int, int] = {
    25: 2, 57: 41, 136: 4, 137: 5, 163: 43, 164: 44,
}  # fmt: skip

#: Left and right partners in the maps, which divide ventricles further than FreeSurfer does.
MIRRORED_LABELS: Mapping[int, int] = {
    **{r.label: r.mirror for r in REGIONS.values() if r.side == "left" and r.label < 1000},
    136: 163,
    137: 164,
}


@dataclass(frozen=True)
class ContrastSettings:
    """Ranges of the randomisation.

    Attributes
    ----------
    size
        Of the training volume, in voxels of 1 mm; multiples of 32.
    susceptibility
        Whether a susceptibility map is painted too, as a second channel.
    around
        What lies in its middle, give or take `PLAY_MM` or what sticks out of it.
    max_rotation_deg, max_scale, max_shear, max_warp_mm
        Of the anatomy.
    gradient_echo_fraction
        How many images are gradient-echo magnitudes.
    max_echo_time_s
        Longest echo time of those.
    max_noise
        Largest standard deviation of the Rician noise, relative to the brightest tissue.
    coarse_fraction, max_voxel_mm, max_slice_mm
        How many images come from larger voxels; their largest edge in plane, and slice thickness.
    strip_fraction, cut_fraction
        How many images end near the brain's surface, and at the edge of a field of view.
    """

    size: tuple[int, int, int] = (96, 128, 96)
    susceptibility: bool = False
    around: Literal["brain", "deep_nuclei"] = "brain"
    max_rotation_deg: float = 20.0
    max_scale: float = 0.15
    max_shear: float = 0.03
    max_warp_mm: float = 3.0
    gradient_echo_fraction: float = 0.6
    max_echo_time_s: float = 0.04
    max_noise: float = 0.08
    coarse_fraction: float = 0.6
    max_voxel_mm: float = 2.0
    max_slice_mm: float = 4.0
    strip_fraction: float = 0.3
    cut_fraction: float = 0.4


def draw_contrast(
    head_labels: torch.Tensor, generator: torch.Generator, settings: ContrastSettings
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw one training volume from a head.

    Parameters
    ----------
    head_labels
        Integer labels ``(x, y, z)``, RAS axes, 1 mm.
    generator
        Source of every random number; its device is where the work is done.
    settings
        Ranges of the randomisation.

    Returns
    -------
    image, labels
        Intensities from 0 to 1 and, if asked for, susceptibility in units of `CHI_UNIT_PPM`;
        float32, ``(channel, x, y, z)``. FreeSurfer label of every voxel, ``(x, y, z)``.
    """
    labels = _deformed_labels(head_labels, generator, settings)
    if happens(settings.gradient_echo_fraction, generator):
        echo_time_s = uniform(0.002, settings.max_echo_time_s, generator)
        image = paint_gradient_echo(labels, echo_time_s, generator)
    else:
        image = _any_contrast(labels, generator)
    bias = smooth_noise(labels.shape, (1.0, 1.0, 1.0), uniform(40, 100, generator), generator)
    image = image * torch.exp(uniform(0, 0.5, generator) * bias)
    image = _visible_part(image, labels, generator, settings)
    width_mm, size = _resolution(labels.shape, generator, settings)
    image = _coarse(image, width_mm, size)
    image = image / image.amax().clamp(min=1e-6)
    spread = uniform(0, settings.max_noise, generator)
    noise = spread * torch.randn((2, *image.shape), generator=generator, device=image.device)
    image = torch.hypot(image + noise[0], noise[1])
    image = rescale(image) ** float(
        torch.exp(0.3 * torch.randn((), generator=generator, device=image.device))
    )
    if not settings.susceptibility:
        return image[None], regions_of(labels)
    chi = draw_susceptibility(labels, (1.0, 1.0, 1.0), generator)
    chi = _coarse(as_inverted(chi, brain_mask(labels), generator), width_mm, size)
    return torch.stack([image, chi / CHI_UNIT_PPM]), regions_of(labels)


def rescale(image: torch.Tensor) -> torch.Tensor:
    """Clip to the 0.5th and 99.5th percentile and scale to 0..1."""
    values, _ = image.flatten()[:: max(1, image.numel() // 200_000)].sort()
    low, high = values[int(0.005 * len(values))], values[int(0.995 * (len(values) - 1))]
    return (image.clamp(low, high) - low) / (high - low).clamp(min=1e-6)


def regions_of(labels: torch.Tensor) -> torch.Tensor:
    """FreeSurfer label of the region that each label of a map counts as; 0 is background."""
    table = torch.zeros(_LOOKUP_SIZE, dtype=torch.long, device=labels.device)
    for label in SYNTHSEG_LABELS:
        table[label] = label
    for label, region in MERGED_LABELS.items():
        table[label] = region
    return table[labels.long()]


def _deformed_labels(
    head: torch.Tensor, generator: torch.Generator, settings: ContrastSettings
) -> torch.Tensor:
    """Labels on a turned, scaled, sheared, warped and perhaps mirrored grid near the brain."""
    device = generator.device
    low, high = _extent(head, settings.around)
    play = (high - low - torch.tensor(settings.size, device=device)).clamp(min=2 * PLAY_MM) / 2
    shift = (2 * torch.rand(3, generator=generator, device=device) - 1) * play
    axes = [torch.arange(n, device=device) - (n - 1) / 2 for n in settings.size]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1) + shift
    mirrored = happens(0.5, generator)
    if mirrored:
        points = points * torch.tensor([-1.0, 1.0, 1.0], device=device)
    warp = [smooth_noise(settings.size, (1.0,) * 3, 30.0, generator) for _ in range(3)]
    points = points + uniform(0, settings.max_warp_mm, generator) * torch.stack(warp, dim=-1)
    points = points @ _random_affine(generator, settings).T + (low + high) / 2
    labels = nearest_labels(head, points)
    return _mirrored(labels) if mirrored else labels


def _extent(
    head: torch.Tensor, around: Literal["brain", "deep_nuclei"]
) -> tuple[torch.Tensor, torch.Tensor]:
    """First and last voxel, along every axis, of what is to be seen."""
    if around == "brain":
        wanted = brain_mask(head) & (head != _FLUID)  # fluid: down the spine too
    else:
        table = torch.zeros(_LOOKUP_SIZE, dtype=torch.bool, device=head.device)
        table[list(DEEP_NUCLEI)] = True
        wanted = table[head.long()]  # several times faster than isin
    box = mask_box(wanted)
    ends = [[part.start for part in box], [part.stop - 1 for part in box]]
    low, high = torch.tensor(ends, dtype=torch.float32, device=head.device)
    return low, high


def _random_affine(generator: torch.Generator, settings: ContrastSettings) -> torch.Tensor:
    def either(largest: float, n: int) -> torch.Tensor:
        draws = torch.rand(n, generator=generator, device=generator.device)
        return largest * (2 * draws - 1)

    generators = torch.zeros(3, 3, device=generator.device)
    a, b, c = either(radians(settings.max_rotation_deg), 3)
    generators[0, 1], generators[0, 2], generators[1, 2] = -a, b, -c
    turn = torch.linalg.matrix_exp(generators - generators.T)
    stretch = torch.diag(1 + either(settings.max_scale, 3))
    shear = torch.eye(3, device=generator.device)
    shear[[0, 0, 1], [1, 2, 2]] = either(settings.max_shear, 3)
    return turn @ stretch @ shear


def _mirrored(labels: torch.Tensor) -> torch.Tensor:
    table = torch.arange(_LOOKUP_SIZE, device=labels.device)
    for left, right in MIRRORED_LABELS.items():
        table[left], table[right] = right, left
    return table[labels.long()]


def _any_contrast(labels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Every label, left and right too, with a mean and spread of its own."""
    device = generator.device
    mean = torch.rand(_LOOKUP_SIZE, generator=generator, device=device)
    spread = 0.12 * torch.rand(_LOOKUP_SIZE, generator=generator, device=device)
    if happens(0.7, generator):  # most contrasts are alike on both sides
        for left, right in MIRRORED_LABELS.items():
            mean[right], spread[right] = mean[left], spread[left]
    if happens(0.5, generator):  # air is dark in most images
        mean[0], spread[0] = 0.05 * mean[0], 0.05 * spread[0]
    return _paint(labels, mean, spread, generator)


def paint_gradient_echo(
    labels: torch.Tensor, echo_time_s: float, generator: torch.Generator
) -> torch.Tensor:
    """Magnitude of a random head: density times ``exp(-TE R2*)``, T1-weighted by chance.

    The steady state of a spoiled gradient echo, ``sin a (1 - E1) / (1 - E1 cos a)`` with
    ``E1 = exp(-TR / T1)``, at flip angles from almost none, where fluid is brightest, to 30
    degrees, where white matter is. Iron shortens T2*, and in some heads so does air nearby.

    Parameters
    ----------
    labels
        Labels of the maps, ``(x, y, z)``, 1 mm.
    echo_time_s
        TE.
    generator
        Source of every random number.
    """
    device = generator.device
    density = torch.zeros(_LOOKUP_SIZE, device=device)
    r2star = torch.zeros(_LOOKUP_SIZE, device=device)
    strength = uniform(0.5, 2.0, generator)  # of the decay: field strength, age
    repetition_s = echo_time_s + uniform(0.005, 0.04, generator)
    flip_rad = radians(uniform(1, 30, generator))
    for tissue in (*BRAIN, *HEAD):
        signal = SIGNALS.get(tissue.name, GREY_MATTER_SIGNAL)
        draw = torch.randn(3, generator=generator, device=device)
        iron = max(0.0, tissue.chi_mean_ppm + 0.7 * tissue.chi_sd_ppm * float(draw[0]))
        index = list(tissue.labels)
        e1 = exp(-repetition_s / signal.t1_s)
        steady_state = sin(flip_rad) * (1 - e1) / (1 - e1 * cos(flip_rad))
        density[index] = signal.density * steady_state * (1 + 0.12 * float(draw[1]))
        r2star[index] = strength * (
            signal.r2star_per_s * (1 + 0.2 * float(draw[2])) + R2STAR_PER_PPM * min(iron, 1.0)
        )
    mean = density * torch.exp(-echo_time_s * r2star)
    spread = mean * uniform(0.01, 0.12, generator)
    image = _paint(labels, mean, spread, generator)
    if happens(0.6, generator):
        near_air = blurred((labels == 0).float(), uniform(3, 7, generator))
        # outer air ends at the skin: what reaches the brain comes from the sinuses
        image = image * torch.exp(-uniform(0, 300, generator) * echo_time_s * near_air)
    return image


def _paint(
    labels: torch.Tensor, mean: torch.Tensor, spread: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    index = labels.long()
    fine = torch.randn(labels.shape, generator=generator, device=labels.device)
    coarse = smooth_noise(labels.shape, (1.0, 1.0, 1.0), uniform(3, 8, generator), generator)
    share = uniform(0, 1, generator)
    texture = share * fine + (1 - share) * coarse
    return (mean[index] + spread[index] * texture).clamp(min=0)


def _visible_part(
    image: torch.Tensor,
    labels: torch.Tensor,
    generator: torch.Generator,
    settings: ContrastSettings,
) -> torch.Tensor:
    """Skull-stripped images, and slabs: what lies outside is zero."""
    if happens(settings.strip_fraction, generator):
        near = brain_mask(labels).float()[None, None]
        for _ in range(int(uniform(0, 6, generator))):
            near = F.max_pool3d(near, 3, 1, 1)
        image = image * near[0, 0]
    if happens(settings.cut_fraction, generator):
        axis = int(uniform(0, 3, generator))
        n = image.shape[axis]
        first, last = int(uniform(0, 0.25, generator) * n), n - int(uniform(0, 0.25, generator) * n)
        place = torch.arange(n, device=image.device)
        seen = ((place >= first) & (place < last)).float()
        image = image * seen.reshape([-1 if a == axis else 1 for a in range(3)])
    return image


def _resolution(
    shape: Sequence[int], generator: torch.Generator, settings: ContrastSettings
) -> tuple[list[float], list[int]]:
    """Blur of the voxels that an image comes from, along every axis, and its size in them."""
    if not happens(settings.coarse_fraction, generator):
        return [uniform(0, 0.5, generator)] * 3, [*shape]
    in_plane = uniform(1.0, settings.max_voxel_mm, generator)
    voxel_mm = [in_plane] * 3
    voxel_mm[int(uniform(0, 3, generator))] = uniform(in_plane, settings.max_slice_mm, generator)
    size = [max(2, round(n / mm)) for n, mm in zip(shape, voxel_mm, strict=True)]
    return [0.35 * (mm - 1) + 0.2 for mm in voxel_mm], size


def _coarse(image: torch.Tensor, width_mm: Sequence[float], size: Sequence[int]) -> torch.Tensor:
    """Image as larger voxels show it, interpolated back to 1 mm."""
    image = blurred(image, *width_mm)
    coarse = F.interpolate(image[None, None], size=size, mode="trilinear")
    return F.interpolate(coarse, size=image.shape, mode="trilinear")[0, 0]
