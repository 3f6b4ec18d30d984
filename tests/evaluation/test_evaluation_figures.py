from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from isdu_bids.evaluation.figures import (
    iterate_figure,
    region_figure,
    save_figure,
    voxel_figure,
)


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_voxels_of_each_method_with_their_regression(tmp_path):
    truth = np.random.default_rng(0).normal(0, 0.05, 2000)
    pairs = {"flat": np.stack([0.5 * truth + 0.01, truth]), "true": np.stack([truth, truth])}
    figure = voxel_figure(pairs)
    assert [axes.get_title("left") for axes in figure.axes] == ["flat", "true"]
    assert "slope 0.500" in texts(figure)[0]
    assert "bias +0.000" in texts(figure)[1]
    low, high = figure.axes[0].get_xlim()
    assert (low, high) == figure.axes[1].get_ylim()
    assert low < np.percentile(truth, 0.1) < np.percentile(truth, 99.9) < high
    save_figure(figure, tmp_path / "voxels.png")
    with Image.open(tmp_path / "voxels.png") as picture:
        assert picture.size[0] > 500


def test_regions_of_each_method_share_a_legend(tmp_path):
    truth = np.array([0.0, 0.05, 0.1])
    regions = pd.DataFrame(
        {
            "method": ["a"] * 3 + ["b"] * 3,
            "name": ["caudate", "putamen", "pallidum"] * 2,
            "truth_mean_ppm": np.tile(truth, 2),
            "mean_ppm": np.concatenate([0.8 * truth, truth + 0.02]),
        }
    )
    figure = region_figure(regions)
    assert "slope 0.800" in texts(figure)[0]
    assert "bias +0.0200 ppm" in texts(figure)[1]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["caudate", "putamen", "pallidum"]
    save_figure(figure, tmp_path / "rois.svg")
    assert (tmp_path / "rois.svg").read_text().startswith("<?xml")


def test_iterations_are_rows_of_three_planes():
    rng = np.random.default_rng(0)
    mask = np.zeros((12, 14, 10), bool)
    mask[2:10, 3:12, 1:8] = True
    proposals = rng.normal(0, 0.03, (4, *mask.shape))
    consistent = proposals + np.array([0.02, 0.01, 0.005, 0.0])[:, None, None, None]
    figure = iterate_figure(proposals, consistent, mask, voxel_size_mm=(1, 1, 2))
    pictures = [axes for axes in figure.axes if axes.images]
    assert len(pictures) == 4 * 9
    assert pictures[0].get_title("left") == "proposal z"
    labels = [axes.get_ylabel() for axes in pictures]
    assert (labels[0], labels[6]) == ("k = 1", "RMS 0.0200 ppm")
    assert labels[3 * 9 + 6] == "RMS 0.0000 ppm"
    middle = pictures[0].images[0].get_array()  # axial, in the mask's box
    np.testing.assert_allclose(middle, proposals[0, 2:10, 3:12, 4].T)
    # the coronal slice is 8 mm wide and, with slices of 2 mm, 14 mm high
    assert pictures[1].images[0].get_extent() == pytest.approx((0, 8, 0, 14))
