"""Known answers of the metric families, and agreement with the package QSM-CI itself."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from qsm_ci import qsm_eval
from scipy import ndimage

from isdu_bids.errors import DataError
from isdu_bids.evaluation.challenge2019 import rc2_scores
from isdu_bids.evaluation.extra import extra_scores
from isdu_bids.evaluation.filters import (
    box_mean,
    gaussian_mean,
    laplacian_of_gaussian,
    similarity,
)
from isdu_bids.evaluation.metrics import detrended_nrmse_percent, nrmse_percent, pearson_r
from isdu_bids.evaluation.paper import paper_scores
from isdu_bids.evaluation.qsm_ci import qsm_ci_scores
from isdu_bids.evaluation.registry import DEFAULT, FAMILIES

SHAPE = (22, 24, 20)


@pytest.fixture
def maps():
    """A truth, a map with noise and half its contrast, and their mask; both reach the edge."""
    rng = np.random.default_rng(0)
    truth = rng.normal(0.01, 0.05, SHAPE)
    chi = 0.5 * truth + rng.normal(0.02, 0.02, SHAPE)
    mask = np.zeros(SHAPE, bool)
    mask[:15, 3:20, 2:18] = True
    return chi, truth, mask


@pytest.fixture
def phantom():
    """Labels 1 to 16 of the second challenge in blocks, a calcification with room around it."""
    rng = np.random.default_rng(1)
    labels = np.zeros((64, 40, 40), np.int16)
    for label in range(1, 12):
        x, y = divmod(label - 1, 4)
        labels[1 + 9 * x : 9 + 9 * x, 1 + 9 * y : 9 + 9 * y, 2:10] = label
    labels[45:49, 18:22, 18:22] = 16
    means = np.zeros(17)
    means[:12] = np.linspace(-0.05, 0.2, 12)
    means[16] = -1.2
    truth = means[labels] + rng.normal(0, 0.01, labels.shape)
    chi = 0.8 * truth + rng.normal(0, 0.01, labels.shape)
    return chi, truth, np.ones(labels.shape, bool), labels


def everywhere(shape=SHAPE):
    return np.ones(shape, bool)


def scored(family, chi, truth, mask, labels=None):
    maps = {"chi_ppm": chi, "truth_ppm": truth, "mask": mask, "labels": labels}
    return FAMILIES[family].run(maps)


# ---- all families


def test_names_of_the_registry_are_the_families():
    assert list(FAMILIES) == ["paper", "qsm-ci", "rc-2", "extra", "regions"]
    assert set(DEFAULT) < set(FAMILIES)
    for family in FAMILIES.values():
        assert family.function.__module__.startswith("isdu_bids.evaluation.")


def test_truth_itself_is_perfect(phantom):
    _, truth, mask, labels = phantom
    assert paper_scores(truth, truth, mask) == pytest.approx(
        {"ssim": 1, "xsim": 1, "psnr_db": np.inf, "nrmse_percent": 0, "hfen_percent": 0}
    )
    assert qsm_ci_scores(truth, truth, mask) == pytest.approx(
        {
            "nrmse_percent": 0,
            "detrended_nrmse_percent": 0,
            "xsim": 1,
            "hfen_percent": 0,
            "pearson_r": 1,
        }
    )
    rc2 = rc2_scores(truth, truth, mask, labels)
    # the calcification's own segmentation is exact, so nothing but rounding is left
    assert rc2 == pytest.approx(dict.fromkeys(rc2, 0), abs=1e-6)
    assert extra_scores(truth, truth, mask) == pytest.approx(
        {"pearson_r": 1, "slope": 1, "psnr_in_mask_db": np.inf}
    )


def test_a_tenth_too_flat_is_ten_percent_off_everywhere(maps):
    _, truth, mask = maps
    assert paper_scores(0.9 * truth, truth, mask)["nrmse_percent"] == pytest.approx(10)
    assert paper_scores(0.9 * truth, truth, mask)["hfen_percent"] == pytest.approx(10)
    ci = qsm_ci_scores(0.9 * truth, truth, mask)
    assert (ci["nrmse_percent"], ci["hfen_percent"]) == pytest.approx((10, 10))
    assert ci["detrended_nrmse_percent"] == pytest.approx(0, abs=1e-6)
    assert extra_scores(0.9 * truth, truth, mask)["slope"] == pytest.approx(0.9)


def test_an_offset_counts_in_the_paper_family_only(maps):
    chi, truth, mask = maps
    for demeaned in (qsm_ci_scores, rc2_scores):
        moved, still = demeaned(chi + 0.3, truth, mask), demeaned(chi, truth, mask)
        assert moved["nrmse_percent"] == pytest.approx(still["nrmse_percent"])
    offset = 0.3 * np.sqrt(mask.sum()) / np.linalg.norm(truth[mask])
    assert paper_scores(truth + 0.3, truth, mask)["nrmse_percent"] == pytest.approx(100 * offset)


@pytest.mark.parametrize("family", list(FAMILIES))
def test_what_lies_outside_the_mask_does_not_count(family, phantom):
    chi, truth, mask, labels = phantom
    mask[:, :, 35:] = False
    scores = scored(family, chi, truth, mask, labels)
    wild = np.where(mask, chi, np.nan), np.where(mask, truth, 99.0)
    np.testing.assert_equal(scored(family, *wild, mask, labels), scores)
    assert all(np.isfinite(list(scores.values())))


@pytest.mark.parametrize("family", list(FAMILIES))
def test_unusable_input_is_refused(family, maps):
    chi, truth, mask = maps
    score, labels = partial(scored, family), np.ones(SHAPE, int)
    with pytest.raises(DataError, match="shapes differ"):
        score(chi[1:], truth, mask, labels)
    with pytest.raises(DataError, match="mask is empty"):
        score(chi, truth, ~everywhere(), labels)
    with pytest.raises(DataError, match="map has 1 voxels"):
        score(np.where(np.arange(chi.size).reshape(SHAPE) == 2000, np.nan, chi), truth,
              everywhere(), labels)  # fmt: skip
    with pytest.raises(DataError, match="one value only"):
        score(chi, np.ones(SHAPE), mask, labels)


# ---- filters


def test_laplacian_of_gaussian_kernel():
    """Its response to a point is the kernel: zero sum, negative centre of the known depth."""
    point = np.zeros((21, 21, 21))
    point[10, 10, 10] = 1
    response = laplacian_of_gaussian(point)
    axis = np.arange(-7, 8)
    squared = axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2
    gaussian = np.exp(-squared / 4.5)
    kernel = (squared / 1.5**4 - 3 / 1.5**2) * gaussian / gaussian.sum()
    assert response[10, 10, 10] == pytest.approx(-3 / 2.25 / gaussian.sum() - kernel.mean())
    assert response.sum() == pytest.approx(0, abs=1e-12)
    assert np.abs(response[:3]).max() < 1e-12  # 15 voxels wide


def test_local_means_at_the_border():
    ones, ramp = np.ones((6, 6, 6)), np.broadcast_to(np.arange(6.0)[:, None, None], (6, 6, 6))
    assert box_mean(ones, 5) == pytest.approx(ones)
    assert box_mean(ramp, 5)[0, 0, 0] == pytest.approx(1.0)  # of 0, 1, 2
    assert gaussian_mean(ones, 7, 1.5, "nearest") == pytest.approx(ones)
    taps = np.exp(-(np.arange(-2, 3) ** 2) / 4.5)
    share = taps[2:].sum() / taps.sum()
    assert gaussian_mean(ones, 5, 1.5, "zero")[0, 0, 0] == pytest.approx(share**3)


def test_similarity_by_hand():
    """Means 1 and 3, variances 1 and 4, covariance 2: 7/11 times 5/6."""
    a, b = np.array([0.0, 2.0]), np.array([1.0, 5.0])
    value = similarity(a, b, lambda x: np.full(2, x.mean()), c1=1, c2=1)
    assert value == pytest.approx((2 * 3 + 1) / (1 + 9 + 1) * (2 * 2 + 1) / (1 + 4 + 1))


# ---- paper


def test_psnr_by_hand():
    """Values -1, 0, 3 of either map become 0, 0 (zero is not moved), 255."""
    truth, chi = np.zeros((2, 2, 2)), np.zeros((2, 2, 2))
    truth[0, 0], chi[0, 0] = (-1, 3), (-1, 1)  # rescaled: (0, 255) and (0, 127.5)
    mse = 127.5**2 / 8
    scores = paper_scores(chi, truth, np.ones((2, 2, 2), bool))
    assert scores["psnr_db"] == pytest.approx(10 * np.log10(255**2 / mse))


def test_empty_space_raises_psnr_but_not_that_in_the_mask(maps):
    """At a fill of 22.8 % the background is worth 6.42 dB."""
    chi, truth, mask = maps
    padded = [np.pad(volume, ((0, 40), (0, 0), (0, 0))) for volume in (chi, truth, mask)]
    gain = paper_scores(*padded)["psnr_db"] - paper_scores(chi, truth, mask)["psnr_db"]
    assert gain == pytest.approx(10 * np.log10((22 + 40) / 22))
    inside = extra_scores(chi, truth, mask)["psnr_in_mask_db"]
    assert extra_scores(*padded)["psnr_in_mask_db"] == pytest.approx(inside)
    fill = mask.mean()
    background = paper_scores(chi, truth, mask)["psnr_db"] - inside
    assert background == pytest.approx(-10 * np.log10(fill))
    assert -10 * np.log10(0.228) == pytest.approx(6.42, abs=0.005)


def test_one_outlier_raises_ssim_but_not_xsim(maps):
    """SSIM is taken on the range of both maps, which is why xSIM exists."""
    chi, truth, mask = maps
    spoilt = chi.copy()
    spoilt[7, 10, 10] = 50
    clean, hacked = paper_scores(chi, truth, mask), paper_scores(spoilt, truth, mask)
    assert clean["ssim"] < 0.9
    assert hacked["ssim"] > 0.95
    assert hacked["xsim"] < clean["xsim"]


def similarity_by_definition(a, b, size, pad_mode, c1, c2):
    """Similarity at every voxel, each window summed as the formula says."""
    half = size // 2
    squared = sum(axis**2 for axis in np.mgrid[(slice(-half, half + 1),) * 3])
    weights = np.exp(-squared / (2 * 1.5**2))
    weights /= weights.sum()

    def mean(volume):
        windows = sliding_window_view(np.pad(volume, half, mode=pad_mode), weights.shape)
        return np.einsum("xyzijk,ijk->xyz", windows, weights)

    ma, mb = mean(a), mean(b)
    va, vb, cab = mean(a * a) - ma**2, mean(b * b) - mb**2, mean(a * b) - ma * mb
    return (2 * ma * mb + c1) * (2 * cab + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))


def test_paper_similarities_are_their_definition(maps):
    chi, truth, mask = maps
    scores = paper_scores(chi, truth, mask)
    chi, truth = chi * mask, truth * mask
    xsim = similarity_by_definition(chi, truth, 7, "edge", 1e-4, 1e-6)
    assert scores["xsim"] == pytest.approx(xsim[mask].mean())
    low = min(chi.min(), truth.min())
    chi, truth = np.where(mask, chi - low, 0), np.where(mask, truth - low, 0)
    peak = max(chi.max(), truth.max()) / 255
    ssim = similarity_by_definition(chi / peak, truth / peak, 5, "constant", 2.55**2, 7.65**2)
    assert scores["ssim"] == pytest.approx(ssim[chi != 0].mean())


def test_hfen_counts_what_the_filter_spreads_beyond_the_mask(maps):
    """The paper sums the filtered error over the volume, QSM-CI inside the mask."""
    chi, truth, mask = maps
    chi, truth = chi * mask, truth * mask
    error, reference = (laplacian_of_gaussian(volume) for volume in (chi - truth, truth))
    whole = 100 * np.linalg.norm(error) / np.linalg.norm(reference)
    inside = 100 * np.linalg.norm(error[mask]) / np.linalg.norm(reference[mask])
    hfen = paper_scores(chi, truth, mask)["hfen_percent"]
    assert hfen == pytest.approx(whole)
    assert abs(hfen - inside) > 0.1


def test_an_empty_map_scores_without_a_warning(maps):
    _, truth, mask = maps
    scores = paper_scores(0 * truth, truth, mask)
    assert (scores["nrmse_percent"], scores["hfen_percent"]) == pytest.approx((100, 100))
    assert np.isnan(scores["ssim"])
    assert np.isnan(qsm_ci_scores(0 * truth, truth, mask)["pearson_r"])


# ---- regression


def test_detrending_undoes_any_slope_and_offset():
    truth, every = np.arange(8.0), np.ones(8, bool)
    assert detrended_nrmse_percent(-0.2 * truth + 3, truth, every) == pytest.approx(0, abs=1e-6)
    noisy = 0.5 * truth + np.array([1, -1, 1, -1, -1, 1, -1, 1])
    r = pearson_r(noisy, truth, every)
    expected = 100 * np.sqrt(1 / r**2 - 1)
    assert detrended_nrmse_percent(noisy, truth, every) == pytest.approx(expected)
    assert expected > nrmse_percent(0.5 * truth, truth, every)
    assert np.isnan(detrended_nrmse_percent(0 * truth + 0.1, truth, every))


def test_pearson_r_by_hand():
    """Deviations (-1, 0, 1) and (-1, -1, 2): 3 / sqrt(2 * 6)."""
    a, b = np.array([1.0, 2.0, 3.0]), np.array([1.0, 1.0, 4.0])
    assert pearson_r(a, b, np.ones(3, bool)) == pytest.approx(3 / np.sqrt(12))


# ---- QSM-CI: the package itself is the reference


def test_qsm_ci_family_is_that_of_the_package(maps):
    chi, truth, mask = maps
    theirs, _ = qsm_eval.score_arrays(chi, truth, mask.astype(np.uint8))
    ours = qsm_ci_scores(chi, truth, mask)
    names = {
        "nrmse_percent": "nrmse",
        "detrended_nrmse_percent": "nrmse_detrend",
        "xsim": "xsim",
        "hfen_percent": "hfen",
        "pearson_r": "correlation",
    }
    assert set(ours) == set(names)
    for name, their_name in names.items():
        assert ours[name] == pytest.approx(theirs[their_name], rel=1e-7), name


# ---- RC-2


def test_rc2_shares_with_qsm_ci_what_the_challenge_defines_alike(phantom):
    """Their regions of tissue and deep grey matter are not eroded; their SD is that of n."""
    chi, truth, mask, labels = phantom
    theirs, _ = qsm_eval.score_arrays(chi, truth, mask.astype(np.uint8), seg=labels)
    ours = rc2_scores(chi, truth, mask, labels)
    names = {
        "nrmse_percent": "nrmse",
        "dnrmse_percent": "nrmse_detrend",
        "dnrmse_blood_percent": "nrmse_blood",
        "dgm_slope_deviation": "dgm_linearity",
        "calcification_moment_deviation": "calc_moment_dev",
    }
    for name, their_name in names.items():
        assert ours[name] == pytest.approx(theirs[their_name], rel=1e-6), name
    n = 18**3 - 10**3  # rim: the box of 4 voxels and its margins of 3 and 4, without the inner box
    streak = theirs["calc_streak"] * np.sqrt(n / (n - 1))
    assert ours["calcification_streak"] == pytest.approx(streak)


def test_metrics_without_their_labels_are_nan(phantom):
    chi, truth, mask, labels = phantom
    needed = {
        "dnrmse_tissue_percent": (7, 8, 9),
        "dnrmse_blood_percent": (11,),
        "dnrmse_dgm_percent": (1, 2, 3, 4, 5, 6),
        "dgm_slope_deviation": (4,),
        "calcification_moment_deviation": (16,),
        "calcification_streak": (16,),
    }
    for name, missing in needed.items():
        scores = rc2_scores(chi, truth, mask, np.where(np.isin(labels, missing), 0, labels))
        assert np.isnan(scores[name]), name
    unlabelled = rc2_scores(chi, truth, mask)
    assert {name for name, value in unlabelled.items() if np.isnan(value)} == set(needed)
    assert unlabelled["nrmse_percent"] == pytest.approx(nrmse_percent(chi, truth, mask))


def test_rims_of_regions_count_for_blood_and_not_for_tissue(phantom):
    _, truth, mask, labels = phantom
    rng = np.random.default_rng(2)

    def scored(where):
        spoilt = truth + np.where(where, rng.normal(0, 0.2, truth.shape), 0)
        return rc2_scores(spoilt, truth, mask, labels)

    cube = np.ones((3, 3, 3), bool)
    for name, label in (("tissue", 8), ("dgm", 2)):
        region = labels == label
        inner = ndimage.binary_erosion(region, cube)
        metric = f"dnrmse_{name}_percent"
        assert scored(region & ~inner)[metric] == pytest.approx(0, abs=1e-6)
        assert scored(inner)[metric] > 10
    blood = labels == 11
    around_blood = ndimage.binary_dilation(blood, cube) & ~blood
    assert scored(around_blood)["dnrmse_blood_percent"] > 10


@pytest.mark.parametrize("factor", [0.5, 1.5])
def test_rc2_slope_and_calcification_by_hand(factor):
    """A map of half, or one and a half of the truth; nothing but calcification is below zero."""
    labels = np.zeros((40, 40, 40), np.int16)
    for label in range(1, 7):
        labels[label, :3, :3] = label
    labels[20:24, 20:24, 20:24] = 16
    x = np.arange(40)[:, None, None]
    truth = np.where(labels == 16, -1.0, 0.01 * labels + 0.001 * x)
    chi = factor * truth
    chi[labels < 7] += 0.1
    scores = rc2_scores(chi, truth, np.ones(labels.shape, bool), labels)
    assert scores["dgm_slope_deviation"] == pytest.approx(0.5)
    assert scores["calcification_moment_deviation"] == pytest.approx(32)
    assert scores["calcification_streak"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("distance", "found"), [(8, 32), (9, 64)])
def test_calcification_is_what_lies_below_the_shell(distance, found):
    """A voxel of -0.3 ppm in the shell, 8 voxels thick, hides the half of -0.2 ppm."""
    labels = np.zeros((40, 40, 40), np.int16)
    labels[20:24, 20:24, 20:24] = 16
    chi = np.where(labels == 16, -0.5, 0.0)
    chi[20:24, 20:24, 20:22] *= 0.4
    chi[20 - 3 - distance, 20, 20] = -0.3
    truth = np.where(labels == 16, -1.0, 0.0)
    scores = rc2_scores(chi, truth, np.ones(labels.shape, bool), labels)
    moment = -0.5 * 32 - 0.2 * (found - 32)
    assert scores["calcification_moment_deviation"] == pytest.approx(64 + moment)


def test_calcification_that_is_not_there_leaves_its_whole_moment(phantom):
    _, truth, mask, labels = phantom
    scores = rc2_scores(np.where(labels == 16, 0.5, truth), truth, mask, labels)
    assert scores["calcification_moment_deviation"] == pytest.approx(
        abs(truth[labels == 16].sum()), abs=1
    )


def test_another_segmentation_is_not_taken_for_the_phantom(phantom):
    chi, truth, mask, labels = phantom
    with pytest.raises(DataError, match="label 42 is none of the RC-2 phantom"):
        rc2_scores(chi, truth, mask, np.where(labels == 3, 42, labels))


# ---- real data


def test_families_are_close_but_not_interchangeable_in_vivo(data_folder):
    """A real slab with a third of its volume in the mask: QSM-CI agrees with its package."""
    with np.load(data_folder / "invivo_patches" / "slab_subC.npz") as slab:
        field, truth, mask = (slab[key] for key in ("local_field_ppm", "chi_cosmos_ppm", "mask"))
    chi = 1.6 * field  # a crude map; only the scores matter here
    paper, ci = paper_scores(chi, truth, mask), qsm_ci_scores(chi, truth, mask)
    theirs, _ = qsm_eval.score_arrays(chi, truth, mask)
    assert ci["xsim"] == pytest.approx(theirs["xsim"], rel=1e-6)
    assert ci["hfen_percent"] == pytest.approx(theirs["hfen"], rel=1e-6)
    assert 0 < abs(paper["xsim"] - ci["xsim"]) < 0.03
    assert 0 < abs(paper["hfen_percent"] - ci["hfen_percent"]) < 2
    background_db = paper["psnr_db"] - extra_scores(chi, truth, mask)["psnr_in_mask_db"]
    assert background_db == pytest.approx(-10 * np.log10(np.mean(mask > 0)))
