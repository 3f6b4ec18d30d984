import sys
import types

import nibabel as nib
import numpy as np
import pytest

from isdu_bids.errors import DataError, UsageError
from isdu_bids.masking.registry import MASKS
from isdu_bids.phase.romeo import voxel_quality

SIZE = (3.0, 3.0, 3.0)
UPRIGHT = np.diag([3.0, 3.0, 3.0, 1.0])
#: Voxel axes towards P, I, L: every one is another axis, and reversed.
TURNED = np.array([[0, 0, -3.0, 0], [-3.0, 0, 0, 0], [0, -3.0, 0, 0], [0, 0, 0, 1]])


@pytest.fixture
def scan():
    """Bright block in the left, posterior, inferior corner, with a hole and a speck; RAS axes."""
    magnitude = np.zeros((2, 16, 20, 24), np.float32)
    magnitude[:, 1:9, 2:12, 3:15] = 1.0
    magnitude[:, 5, 5, 6] = 0.0
    magnitude[:, 14, 18, 22] = 1.0
    return magnitude, np.ones(magnitude.shape[1:], np.float32)


@pytest.fixture
def network(monkeypatch):
    """In place of deepbet: whatever is bright is brain. Keeps what it was shown."""
    shown = []

    class BrainExtraction:
        def __init__(self, no_gpu):
            assert no_gpu

        def run_model(self, image):
            shown.append(image)
            if image.max() < 0.5:
                raise AssertionError("Not enough foreground to calculate bounding box")
            return (image > 0.5).astype(np.float32)

    module = types.ModuleType("deepbet")
    module.BrainExtraction = BrainExtraction
    monkeypatch.setitem(sys.modules, "deepbet", module)
    return shown


def run(magnitude, quality, affine):
    return MASKS["deepbet"](magnitude, quality=quality, voxel_size_mm=SIZE, affine=affine)


def test_one_solid_piece(scan, network):
    mask = run(*scan, UPRIGHT)
    assert mask.dtype == bool
    assert mask[1:9, 2:12, 3:15].all()
    assert mask.sum() == 8 * 10 * 12


def test_the_network_sees_heads_upright(scan, network):
    magnitude, quality = scan
    # by the rows of the affine: turned[i, j, k] = upright[-k, -i, -j]
    turned = magnitude.transpose(0, 2, 3, 1)[:, ::-1, ::-1, ::-1]
    mask = run(turned, quality.transpose(1, 2, 0), TURNED)
    expected = run(magnitude, quality, UPRIGHT)
    np.testing.assert_array_equal(network[0], network[1])
    np.testing.assert_array_equal(mask, expected.transpose(1, 2, 0)[::-1, ::-1, ::-1])


def test_an_oblique_affine_takes_the_nearest_axes(scan, network):
    angle = np.deg2rad(30)
    rotation = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)],
                         [0, np.sin(angle), np.cos(angle)]])  # fmt: skip
    run(*scan, nib.affines.from_matvec(3 * rotation))
    run(*scan, UPRIGHT)
    np.testing.assert_array_equal(network[0], network[1])


def test_slabs_are_padded_to_the_view_of_a_head(scan, network):
    slab = np.zeros((1, 100, 90, 5), np.float32)
    slab[:, 20:80, 10:80] = 1.0
    mask = run(slab, np.ones(slab.shape[1:], np.float32), UPRIGHT)
    (shown,) = network
    assert shown.shape == (100, 90, 83)  # 3 mm, as near to 250 mm as symmetry allows, or more
    np.testing.assert_array_equal(shown[:, :, 39:44], slab[0])
    np.testing.assert_array_equal(mask, slab[0] > 0)


def test_unreliable_rim_is_dropped(scan, network):
    magnitude, quality = scan
    quality[:, :, 10:] = 0.0
    mask = run(magnitude, quality, UPRIGHT)
    assert mask[:, :, 3:9].sum() == 8 * 10 * 6
    assert not mask[:, :, 13:].any()


def test_what_is_missing_is_asked_for(scan, network):
    given = {"magnitude": scan[0], "quality": scan[1], "voxel_size_mm": SIZE, "affine": UPRIGHT}
    for name in ("affine", "quality"):
        with pytest.raises(DataError, match=f"needs {name}"):
            MASKS["deepbet"].run({**given, name: None})


def test_no_brain_is_an_error(scan, network):
    for image in (0.1 * scan[0], 0 * scan[0]):
        with pytest.raises(DataError, match="mask"):
            run(image, scan[1], UPRIGHT)


def test_without_the_package(scan, monkeypatch):
    monkeypatch.setitem(sys.modules, "deepbet", None)
    with pytest.raises(UsageError, match=r'pip install "isdu-bids\[deepbet\]"'):
        run(*scan, UPRIGHT)


def test_simulated_head(data_folder):
    pytest.importorskip("deepbet")
    anat = data_folder / "bids_simulated" / "sub-01" / "anat"
    truth = data_folder / "bids_simulated" / "derivatives" / "qsm-forward" / "sub-01" / "anat"
    magnitude, phase = (
        nib.load(anat / f"sub-01_echo-1_part-{part}_MEGRE.nii.gz").get_fdata(dtype=np.float32)[None]
        for part in ("mag", "phase")
    )
    brain = nib.load(truth / "sub-01_desc-brain_mask.nii.gz")
    mask = MASKS["deepbet"](
        magnitude,
        quality=voxel_quality(phase, magnitude),
        voxel_size_mm=(2.0, 2.0, 2.0),
        affine=brain.affine,
    )
    expected = brain.get_fdata() > 0
    assert 2 * np.sum(mask & expected) / (mask.sum() + expected.sum()) > 0.95
