"""Labels of a magnitude image by a network, on the grid of that image."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from isdu_bids.physics.device import run_on
from isdu_bids.segmentation.conform import SMALLEST_VOXELS, Conformed, conform
from isdu_bids.segmentation.labels import CORTEX, SYNTHSEG_LABELS
from isdu_bids.segmentation.nuclei import look_again
from isdu_bids.segmentation.postprocess import averaged_with_mirrored, cleaned, smoothed
from isdu_bids.segmentation.region_net import RegionNet, surroundings
from isdu_bids.segmentation.scores import ScoreNet, predicted_scores
from isdu_bids.segmentation.synthseg import RobustSynthSeg, SynthSeg

logger = logging.getLogger(__name__)

#: Label of fluid around the brain: without it, posteriors do not fill the skull.
CSF = 24


class SegmentationNetwork(Protocol):
    """What `segment` needs: a PyTorch module that knows the labels of its channels."""

    labels: tuple[int, ...]

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Logits ``(1, label, x, y, z)`` of a conformed image ``(1, 1, x, y, z)``."""

    def to(self, device: torch.device) -> SegmentationNetwork:
        """Move to a device."""


@dataclass(frozen=True)
class Segmentation:
    """What a network sees in an image; volumes ``(x, y, z)`` are on the image's own grid.

    Attributes
    ----------
    labels
        FreeSurfer's numbers (int16).
    posterior
        Probability of the label (float32); for cortical parcels, that of cortex.
    intracranial
        Where background is less likely than everything else.
    soft_volumes_mm3
        Sum of posteriors per label except background, on the network's 1 mm grid.
    intracranial_mm3
        Their sum; NaN for networks without a label for fluid around the brain.
    confidence
        Mean posterior of the voxels of a label; only labels that occur.
    device
        Which computed it, in words.
    scores
        Dice scores that SynthSeg's own network predicts, by the names of
        `isdu_bids.segmentation.labels.SCORED`; empty without it.
    """

    labels: npt.NDArray[np.int16]
    posterior: npt.NDArray[np.float32]
    intracranial: npt.NDArray[np.bool_]
    soft_volumes_mm3: dict[int, float]
    intracranial_mm3: float
    confidence: dict[int, float]
    device: str
    scores: dict[str, float] = field(default_factory=dict)


def segment(
    magnitude: npt.ArrayLike,
    affine: npt.ArrayLike,
    *,
    network: SegmentationNetwork,
    nuclei: RegionNet | None = None,
    chi_ppm: npt.ArrayLike | None = None,
    parcellation: SynthSeg | None = None,
    score_net: ScoreNet | None = None,
    flip: bool = True,
    device: str = "cpu",
    smallest: int = SMALLEST_VOXELS,
) -> Segmentation:
    """Segment an image of any contrast.

    Posteriors, not labels, are interpolated to the grid of the image: labels keep smooth outlines
    on a fine grid, and thin structures on a coarse one.

    Parameters
    ----------
    magnitude, affine
        Image ``(x, y, z)`` and its voxel-to-world matrix (RAS+, mm), which tells left from right.
    network
        With logits per label, as `isdu_bids.segmentation.synthseg.SynthSeg`.
    nuclei, chi_ppm
        Network of the same labels that looks at the deep nuclei again, and the susceptibility that
        it sees beside the image, zero where it is not known; without one of both it is left out.
    parcellation
        SynthSeg's network that divides the cortex.
    score_net
        SynthSeg's network that scores segmentations; it knows the labels of version 2.0 only, and
        gives no scores to others.
    flip
        Average with the result of the mirrored image: better, and twice the time. Never done by
        the robust variant of SynthSeg.
    device
        ``cpu``, ``cuda``, ``cuda:1`` or ``auto``; on the CPU if a GPU's memory does not suffice.
    smallest
        Least edge of the image that the network sees, in voxels.

    Raises
    ------
    DataError
        If the image is not three-dimensional or the affine is singular.
    """
    conformed = conform(magnitude, affine, smallest)
    second = None
    if nuclei is not None and chi_ppm is not None:
        second = nuclei, conform(chi_ppm, affine, smallest, scaled=False).image
    shape = "x".join(map(str, conformed.image.shape))
    logger.info("segmenting %s voxels; on a CPU this takes minutes", shape)
    result, used = run_on(
        device,
        lambda where: _segment(conformed, network, second, parcellation, score_net, flip, where),
    )
    return replace(result, device=used)


@torch.inference_mode()
def _segment(
    conformed: Conformed,
    network: SegmentationNetwork,
    second: tuple[RegionNet, torch.Tensor] | None,
    parcellation: SynthSeg | None,
    score_net: ScoreNet | None,
    flip: bool,
    where: torch.device,
) -> Segmentation:
    image = conformed.image.to(where)[None, None]
    network = network.to(where)
    if isinstance(network, RegionNet):
        box = surroundings(network, image)
        conformed = conformed.cropped(box)
        image = conformed.image.to(where)[None, None]
        second = (second[0].to(where), second[1][box].to(where)) if second else None
    robust = isinstance(network, RobustSynthSeg)
    flip = flip and not robust
    posteriors = _averaged(network, image, flip)
    if isinstance(network, RegionNet) and second is not None:
        nuclei, chi_ppm = second
        look_again(posteriors, image[0, 0], chi_ppm, nuclei, partial(_averaged, flip=flip))
    if not robust:
        smoothed(posteriors)
    scores = {}
    is_synthseg_2 = network.labels == SYNTHSEG_LABELS and not isinstance(network, RegionNet)
    if score_net is not None and is_synthseg_2:
        scores = predicted_scores(score_net.to(where), posteriors.argmax(0))
    posteriors = cleaned(posteriors, network.labels, conformed.inner, topological=not robust)
    volumes = _volumes_mm3(posteriors, network.labels, conformed)
    intracranial_mm3 = sum(volumes.values()) if CSF in network.labels else math.nan
    labels, posterior = _most_likely(posteriors, network.labels, conformed)
    background = conformed.on_input_grid(posteriors[0], beyond=1.0)
    if parcellation is not None:
        parcels = _parcels(parcellation.to(where), image, posteriors, network.labels, conformed)
        shares = _volumes_mm3(parcels, parcellation.labels, conformed)
        scale = sum(volumes[label] for label in CORTEX) / max(sum(shares.values()), 1e-9)
        volumes |= {label: share * scale for label, share in shares.items()}
        parcel, _ = _most_likely(parcels[1:], parcellation.labels[1:], conformed)
        labels = torch.where(_is_cortex(labels), parcel, labels)
    return Segmentation(
        labels=labels.cpu().numpy(),
        posterior=posterior.cpu().numpy(),
        intracranial=(background < 0.5).cpu().numpy(),
        soft_volumes_mm3=volumes,
        intracranial_mm3=intracranial_mm3,
        confidence={
            int(label): float(posterior[labels == label].mean()) for label in labels.unique()
        },
        device=str(where),
        scores=scores,
    )


def _averaged(network: SegmentationNetwork, image: torch.Tensor, flip: bool) -> torch.Tensor:
    """Probabilities ``(label, x, y, z)``; with ``flip`` the mean with those of the mirror image."""
    posteriors = _posteriors(network, image)
    if flip:
        averaged_with_mirrored(posteriors, _posteriors(network, image.flip(2)), network.labels)
    return posteriors


def _posteriors(network: SegmentationNetwork, image: torch.Tensor) -> torch.Tensor:
    """Probabilities ``(label, x, y, z)``; TF32 would cost three digits of them."""
    with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        logits = network(image)[0].float()
    for planes in logits.split(16, dim=1):
        planes.copy_(planes.softmax(0))
    return logits


def _most_likely(
    posteriors: torch.Tensor, labels: Sequence[int], conformed: Conformed
) -> tuple[torch.Tensor, torch.Tensor]:
    """Label and its posterior on the input grid; one channel at a time, for the memory's sake."""
    best = conformed.on_input_grid(posteriors[0], beyond=1.0)
    winner = torch.full_like(best, labels[0], dtype=torch.int16)
    for channel, label in zip(posteriors[1:], labels[1:], strict=True):
        posterior = conformed.on_input_grid(channel)
        winner[posterior > best] = label
        best = torch.maximum(best, posterior)
    return winner, best


def _volumes_mm3(
    posteriors: torch.Tensor, labels: Sequence[int], conformed: Conformed
) -> dict[int, float]:
    sums = posteriors[1:].sum((1, 2, 3), dtype=torch.float64) * conformed.voxel_mm3
    return dict(zip(labels[1:], sums.tolist(), strict=True))


def _parcels(
    network: SynthSeg,
    image: torch.Tensor,
    posteriors: torch.Tensor,
    labels: Sequence[int],
    conformed: Conformed,
) -> torch.Tensor:
    """Posteriors of cortical parcels, which the network finds by the image and a cortex mask."""
    cortex = torch.zeros_like(image)
    channel_label = torch.tensor(labels, device=image.device)
    inside = _is_cortex(channel_label[posteriors.argmax(0)])
    cortex[(0, 0, *conformed.inner)] = inside.float()
    parcels = smoothed(_posteriors(network, torch.cat([image, 1 - cortex, cortex], dim=1)))
    parcels = parcels[(slice(None), *conformed.inner)]
    parcels[0] = (~inside).float()
    parcels /= parcels.sum(0)
    return parcels


def _is_cortex(labels: torch.Tensor) -> torch.Tensor:
    left, right = CORTEX
    return (labels == left) | (labels == right)
