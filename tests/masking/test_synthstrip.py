"""SynthStrip's network, its file, and what lies between the scan and the network."""

import nibabel as nib
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.spatial.transform import Rotation

from isdu_bids.errors import DataError, UsageError
from isdu_bids.masking import synthstrip
from isdu_bids.masking.registry import MASKS
from isdu_bids.masking.synthstrip import SynthStrip, find_synthstrip, load_synthstrip

#: Inputs and outputs of the convolutions, by the names of FreeSurfer's file.
SHAPES = {
    **{f"encoder.{n}": shape for n, shape in enumerate(
        [(1, 16), (16, 32), (32, 64), (64, 64), (64, 64), (64, 64)])},
    **{f"decoder.{n}": shape for n, shape in enumerate(
        [(64, 64), (128, 64), (128, 64), (128, 64), (128, 64), (96, 32)])},
}  # fmt: skip
REMAINING = [(48, 16), (16, 16), (16, 1)]


@pytest.fixture(scope="module")
def checkpoint():
    """Random parameters in the layout of FreeSurfer's file: 54 tensors, 30 851 709 bytes."""
    generator = torch.Generator().manual_seed(0)
    state = {}

    def convolution(name, inputs, outputs):
        spread = (2 / (27 * inputs)) ** 0.5
        kernel = torch.randn(outputs, inputs, 3, 3, 3, generator=generator)
        state[f"{name}.conv.weight"] = spread * kernel
        state[f"{name}.conv.bias"] = 0.1 * torch.randn(outputs, generator=generator)

    for name, (inputs, outputs) in SHAPES.items():
        convolution(f"{name}.0", inputs, outputs)
        convolution(f"{name}.1", outputs, outputs)
    for number, (inputs, outputs) in enumerate(REMAINING):
        convolution(f"remaining.{number}", inputs, outputs)
    return {"model_state_dict": state, "epoch": 1}


@pytest.fixture
def file(checkpoint, tmp_path):
    path = tmp_path / "synthstrip.1.pt"
    torch.save(checkpoint, path)
    return path


def by_hand(state, image):
    """The U-Net written out flat, from its published description."""

    def convolve(x, name):
        return F.conv3d(x, state[f"{name}.conv.weight"], state[f"{name}.conv.bias"], padding=1)

    def level(x, name):
        for number in range(2):
            x = F.leaky_relu(convolve(x, f"{name}.{number}"), 0.2)
        return x

    x, skips = image, []
    for number in range(6):
        skips.append(level(x, f"encoder.{number}"))
        x = F.max_pool3d(skips[-1], 2)
    for number in range(6):
        fine = level(x, f"decoder.{number}").repeat_interleave(2, 2)
        fine = fine.repeat_interleave(2, 3).repeat_interleave(2, 4)
        x = torch.cat([fine, skips[5 - number]], dim=1)
    return convolve(level(x, "remaining"), "remaining.2")


@torch.inference_mode()
def test_a_file_with_the_official_names_computes_the_published_network(file, checkpoint):
    image = torch.rand(1, 1, 64, 64, 64, generator=torch.Generator().manual_seed(1))
    distance = load_synthstrip(file)(image)
    expected = by_hand(checkpoint["model_state_dict"], image)
    assert expected.std() > 0.1
    torch.testing.assert_close(distance, expected, atol=1e-4, rtol=1e-4)


def test_number_of_parameters():
    # with Adam's two moments of each, 12 bytes, these are all but 53 kB of the official file
    assert sum(parameter.numel() for parameter in SynthStrip().parameters()) == 2_566_561


@pytest.fixture
def scan():
    """Ramp through the surface of a sphere, off the centre and off the grid."""
    size_mm = (1.4, 1.0, 1.2)  # without ties between nearest voxels
    affine = nib.affines.from_matvec(np.diag(size_mm), (-50.0, -60.0, -45.0))
    return affine, (75, 100, 90)


RADIUS_MM, RAMP_MM = 35.0, 20.0
CENTRE_MM = (4.3, -12.1, 6.7)


def sphere(affine, shape):
    """Distance (mm) from the sphere's surface, and an image that falls across it from 1 to 0."""
    world = nib.affines.apply_affine(affine, np.moveaxis(np.indices(shape), 0, -1))
    distance_mm = np.linalg.norm(world - CENTRE_MM, axis=-1) - RADIUS_MM
    return distance_mm, np.clip(0.5 - distance_mm / RAMP_MM, 0, 1).astype(np.float32)


@pytest.fixture
def network(monkeypatch):
    """In place of SynthStrip: the distance by the known ramp. Keeps what it was shown."""
    shown = []

    def distance_mm(image):
        shown.append(image[0, 0].numpy())
        return (0.5 - image) * RAMP_MM

    monkeypatch.setattr(synthstrip, "_SMALLEST", 64)  # for speed
    monkeypatch.setattr(synthstrip, "find_synthstrip", lambda where: where)
    monkeypatch.setattr(synthstrip, "load_synthstrip", lambda path: distance_mm)
    return shown


def run(image, affine, **options):
    return MASKS["synthstrip"](
        image[None],
        quality=np.ones_like(image),
        voxel_size_mm=nib.affines.voxel_sizes(affine),
        affine=affine,
        **options,
    )


@pytest.mark.parametrize("border_mm", [1.0, 3.0])
def test_distance_from_a_sphere_becomes_its_mask(network, scan, border_mm):
    distance_mm, image = sphere(*scan)
    mask = run(image, scan[0], border_mm=border_mm)
    assert mask.dtype == bool
    # the nearest voxel is up to half a diagonal away
    wrong = mask != (distance_mm < border_mm)
    assert np.abs(distance_mm[wrong] - border_mm).max() < 1.1
    assert wrong.sum() < 0.04 * mask.sum()
    (view,) = network
    assert (view.min(), view.max()) == (0, 1)


@pytest.mark.parametrize(
    ("order", "flips"), [((0, 1, 2), (0, 1, 2)), ((2, 0, 1), ()), ((1, 0, 2), (0,))]
)
def test_the_mask_is_the_same_however_the_axes_run(network, scan, order, flips):
    affine, shape = scan
    _, image = sphere(affine, shape)
    image[10:14, 20:40, 20:24] = 0.9  # off the sphere: something lopsided to see
    turned_affine = affine[:, [*order, 3]]
    turned = image.transpose(order)
    for axis in flips:
        turned_affine[:3, 3] += (turned.shape[axis] - 1) * turned_affine[:3, axis]
        turned_affine[:3, axis] *= -1
        turned = np.flip(turned, axis)
    expected = np.flip(run(image, affine).transpose(order), flips)
    np.testing.assert_array_equal(run(np.ascontiguousarray(turned), turned_affine), expected)
    np.testing.assert_array_equal(*network)


def test_the_network_sees_left_inferior_anterior_in_the_middle(network):
    image = np.zeros((40, 50, 60), np.float32)  # towards right, anterior, superior
    image[5:38, 2:44, 9:60] = np.random.default_rng(0).uniform(0.1, 1, (33, 42, 51))
    run(image, np.eye(4))
    (view,) = network
    assert view.shape == (64, 64, 64)
    seen = view[15:48, 6:57, 11:53]  # what is not zero, in the middle
    assert np.count_nonzero(seen) == np.count_nonzero(view)
    inner = image[5:38, 2:44, 9:60]
    expected = inner[::-1, :, ::-1].transpose(0, 2, 1)
    bright = np.percentile(np.pad(expected, [(15, 16), (6, 7), (11, 11)]), 99)
    np.testing.assert_allclose(seen, np.clip(expected / bright, 0, 1), rtol=1e-6)


@pytest.mark.parametrize(
    ("extent", "edge"), [(1, 192), (192, 192), (193, 256), (257, 320), (340, 320)]
)
def test_edges_of_the_view(extent, edge):
    head = torch.zeros(360, 3, 3)
    head[15 : 15 + extent, 1, 1] = 1
    view = F.pad(head, synthstrip._view_widths(head))
    assert view.shape == (edge, 192, 192)
    assert view.sum() == min(extent, edge)
    back = F.pad(view, [-width for width in synthstrip._view_widths(head)])
    assert back.shape == head.shape
    assert (back == head).all() == (extent <= 320)


def test_larger_volumes_are_cut_to_320_mm(network):
    image = np.zeros((100, 20, 20), np.float32)
    image[10:90, 5:15, 5:15] = 1
    mask = run(image, np.diag([5.0, 5.0, 5.0, 1]))
    (view,) = network
    assert view.shape == (320, 64, 64)
    np.testing.assert_array_equal(np.flatnonzero(mask.any((1, 2)))[[0, -1]], [18, 81])


def test_oblique_scans_take_the_nearest_axes(network, scan):
    affine, shape = scan
    _, image = sphere(affine, shape)
    turn = Rotation.from_euler("x", 20, degrees=True).as_matrix()
    run(image, nib.affines.from_matvec(turn @ affine[:3, :3], affine[:3, 3]))
    run(image, affine)
    np.testing.assert_array_equal(*network)


def test_largest_piece_without_holes(network, scan):
    _, image = sphere(*scan)
    expected = run(image, scan[0])
    image[35:37, 50:52, 45:47] = 0
    image[1:3, 1:3, 1:3] = 1
    np.testing.assert_array_equal(run(image, scan[0]), expected)


def test_where_the_file_is_found(file, monkeypatch, tmp_path):
    monkeypatch.delenv("FREESURFER_HOME", raising=False)
    with pytest.raises(UsageError, match=r"synthstrip\.1\.pt.*--synthstrip-weights"):
        find_synthstrip()
    assert find_synthstrip(file) == file
    assert find_synthstrip(tmp_path) == file
    with pytest.raises(DataError, match="no such file"):
        find_synthstrip(tmp_path / "none.pt")
    monkeypatch.setenv("FREESURFER_HOME", str(tmp_path))
    with pytest.raises(UsageError, match="FREESURFER_HOME"):
        find_synthstrip()
    (tmp_path / "models").mkdir()
    installed = file.rename(tmp_path / "models" / file.name)
    assert find_synthstrip() == installed


class Harmful:
    """Does something when it is unpickled."""

    def __reduce__(self):
        return print, ("executed",)


@pytest.mark.parametrize(
    "content",
    [
        "<html>Not found</html>",
        {"weights": {}},
        {"model_state_dict": {"encoder.0.0.conv.weight": torch.zeros(16, 1, 3, 3, 3)}},
        {"model_state_dict": Harmful()},
    ],
    ids=["page", "other", "incomplete", "code"],
)
def test_other_files_are_refused(content, tmp_path, capsys):
    path = tmp_path / "synthstrip.1.pt"
    path.write_text(content) if isinstance(content, str) else torch.save(content, path)
    with pytest.raises(DataError, match="no weights of SynthStrip") as error:
        load_synthstrip(path)
    assert str(path) in str(error.value)
    assert "executed" not in capsys.readouterr().out


def test_what_is_missing_is_asked_for(network, scan):
    affine, shape = scan
    _, image = sphere(affine, shape)
    given = {"magnitude": image[None], "quality": image, "voxel_size_mm": (1, 1, 1)}
    for name in ("affine", "quality"):
        rest = {k: v for k, v in {**given, "affine": np.eye(4)}.items() if k != name}
        with pytest.raises(DataError, match=name):
            MASKS["synthstrip"].run(rest)
    with pytest.raises(DataError, match="mask"):
        run(image, affine, border_mm=-50.0)
