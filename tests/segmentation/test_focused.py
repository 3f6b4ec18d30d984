"""The small network looks again at the surroundings of the deep nuclei."""

from __future__ import annotations

import torch

from isdu_bids.segmentation.labels import SYNTHSEG_LABELS
from isdu_bids.segmentation.region_net import Focused, RegionNet

THALAMUS, CORTEX = SYNTHSEG_LABELS.index(10), SYNTHSEG_LABELS.index(3)


class Bright(RegionNet):
    """Thalamus where it is bright, cortex where it is dim, background elsewhere."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros(1, len(self.labels), *image.shape[2:])
        logits[:, THALAMUS] = 10 * (image[:, 0] > 0.8)
        logits[:, CORTEX] = 10 * ((image[:, 0] > 0.3) & (image[:, 0] < 0.6))
        logits[:, 0] = 5.0
        return logits


def test_what_is_far_from_the_nuclei_is_background():
    image = torch.zeros(1, 1, 320, 96, 64)
    image[..., 200:210, 40:50, 20:30] = 1
    image[..., 190:195, 40:50, 20:30] = 0.5  # cortex nearby
    image[..., 10:15, 40:50, 20:30] = 0.5  # far off: air that looks like cortex
    network = Bright(SYNTHSEG_LABELS, (4, 8))
    assert (network(image).argmax(1)[0, 12] == CORTEX).any()
    found = Focused(network)(image).argmax(1)[0]
    assert (found[200:210, 40:50, 20:30] == THALAMUS).all()
    assert (found[190:195, 40:50, 20:30] == CORTEX).all()
    assert not found[:100].any()


def test_without_nuclei_the_whole_image_counts():
    image = torch.full((1, 1, 32, 32, 32), 0.5)
    network = Bright(SYNTHSEG_LABELS, (4, 8))
    torch.testing.assert_close(Focused(network)(image), network(image))
