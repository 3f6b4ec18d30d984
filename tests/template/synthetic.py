"""A TemplateFlow folder with one small drawn head, and a registration that needs no library."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import affine_transform, binary_fill_holes, map_coordinates

from isdu_bids import images
from isdu_bids.simulation.demo_head import demo_head
from isdu_bids.template.register import Transforms

SHAPE = (44, 52, 47)
#: Upright, 4 mm, first axis to the right.
AFFINE = np.array([[4.0, 0, 0, -86], [0, 4, 0, -102], [0, 0, 4, -92], [0, 0, 0, 1]])
NAME = "MNI152NLin2009cAsym"


def drawn_head() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, T1-weighted contrast and brain mask."""
    labels = demo_head(SHAPE, (4.0,) * 3, torch.Generator().manual_seed(1)).numpy()
    t1w = np.select(
        [np.isin(labels, (2, 41, 7, 46, 16)), np.isin(labels, (4, 43, 24)), labels == 515],
        [1.0, 0.2, 0.1],
        0.7 * (labels > 0),
    ).astype(np.float32)
    brain = (labels > 0) & ~np.isin(labels, (511, 515, 24, 514))
    brain = binary_fill_holes(brain)
    return labels, t1w, brain


def write_template(home: Path) -> Path:
    """Write the head as resolution 1 of a template."""
    _, t1w, brain = drawn_head()
    stem = home / f"tpl-{NAME}" / f"tpl-{NAME}_res-01"
    images.save_volume(t1w, AFFINE, Path(f"{stem}_T1w.nii.gz"))
    images.save_volume(brain, AFFINE, Path(f"{stem}_desc-brain_mask.nii.gz"))
    return home


def moved(volume: np.ndarray, world: np.ndarray, order: int) -> np.ndarray:
    """Volume on the grid of the template after the head has moved by a world affine."""
    back = np.linalg.inv(AFFINE) @ np.linalg.inv(world) @ AFFINE
    return affine_transform(volume, back[:3, :3], back[:3, 3], order=order)


class SameWorld:
    """In place of ANTs: scan and template already share the world's axes."""

    def register(self, moving: Path, fixed: Path, folder: Path) -> Transforms:
        transforms = Transforms(folder / "there.h5", folder / "back.h5")
        transforms.forward.write_bytes(b"there")
        transforms.inverse.write_bytes(b"back")
        return transforms

    def resample(self, image: Path, grid: Path, transform: Path, output: Path) -> None:
        assert transform.name == "there.h5"
        source, target = images.load_volume(image), images.load_volume(grid)
        voxels = np.indices(target.data.shape).reshape(3, -1)
        to_source = np.linalg.inv(source.affine) @ target.affine
        places = to_source[:3, :3] @ voxels + to_source[:3, 3:]
        data = map_coordinates(source.data, places, order=1, prefilter=False)
        images.save_volume(data.reshape(target.data.shape), target.affine, output)
