"""The nibabel boundary: what goes in comes out, and what cannot be right is refused by name."""

import os
import struct
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from faults import fault

from isdu_bids.errors import DataError
from isdu_bids.geometry import b0_direction, voxel_size_mm
from isdu_bids.images import (
    check_same_grid,
    load_real_imag,
    load_stack,
    load_volume,
    n_volumes,
    save_volume,
)

OBLIQUE = nib.affines.from_matvec(
    nib.eulerangles.euler2mat(x=0.3, y=-0.2, z=0.1) @ np.diag([-1.0, 1.5, 2.0]), [10, -20, 30]
)


def random(shape=(5, 6, 7), seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def save(tmp_path, data, name="image.nii.gz", affine=OBLIQUE, header=None):
    return save_volume(data, affine, tmp_path / name, header)


@pytest.mark.parametrize("extension", [".nii", ".nii.gz"])
@pytest.mark.parametrize(
    ("dtype", "stored"),
    [
        ("float32", "float32"),
        ("float64", "float32"),
        ("bool", "uint8"),
        ("uint8", "uint8"),
        ("int16", "int16"),
        ("int64", "int32"),
    ],
)
def test_round_trip_keeps_values_type_and_affine(tmp_path, extension, dtype, stored):
    data = (10 * random()).astype(dtype)
    volume = load_volume(save(tmp_path, data, f"image{extension}"))
    assert volume.data.dtype == np.float32
    assert volume.stored_dtype == stored
    np.testing.assert_array_equal(volume.data, data.astype(np.float32))
    np.testing.assert_allclose(volume.affine, OBLIQUE, atol=1e-5)
    assert type(volume.data) is np.ndarray
    assert volume.data.flags.c_contiguous


def test_sform_and_qform_say_the_same_and_scaling_is_untouched(tmp_path):
    header = nib.load(save(tmp_path, random())).header
    assert header["sform_code"] == header["qform_code"] == 1
    np.testing.assert_allclose(header.get_sform(), header.get_qform(), atol=1e-4)
    assert header.get_slope_inter() == (None, None)


def test_voxel_size_and_b0_direction_survive(tmp_path):
    affine = load_volume(save(tmp_path, random())).affine
    np.testing.assert_allclose(voxel_size_mm(affine), (1, 1.5, 2), rtol=1e-5)
    np.testing.assert_allclose(b0_direction(affine), b0_direction(OBLIQUE), atol=1e-5)


def test_source_header_hands_down_text_but_neither_type_nor_scaling(tmp_path):
    source = nib.Nifti1Image(np.zeros((5, 6, 7), np.int16), OBLIQUE)
    source.header["descrip"] = b"TE=4"
    source.header.set_slope_inter(0.5, 3)
    source.header["cal_max"] = 4095
    volume = load_volume(save(tmp_path, random(), header=source.header))
    assert volume.header["descrip"] == b"TE=4"
    assert volume.header["cal_max"] == 0
    assert volume.stored_dtype == "float32"
    np.testing.assert_array_equal(volume.data, random())


def test_saving_twice_gives_the_same_bytes(tmp_path):
    first, second = (save(tmp_path / folder, random()) for folder in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()


def test_integer_scaling_is_applied(tmp_path):
    image = nib.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), OBLIQUE)
    image.header.set_slope_inter(0.25, -3)
    image.set_sform(OBLIQUE, 1)
    nib.save(image, tmp_path / "scaled.nii")
    volume = load_volume(tmp_path / "scaled.nii")
    stored = nib.load(tmp_path / "scaled.nii").dataobj.get_unscaled()
    assert volume.stored_dtype == np.int16
    np.testing.assert_allclose(volume.data, stored * 0.25 - 3)


def test_stack_of_files_equals_one_4d_file(tmp_path):
    echoes = random((5, 6, 7, 3))
    files = [save(tmp_path, echoes[..., i], f"{i}.nii.gz") for i in range(3)]
    whole = save(tmp_path, echoes, "4d.nii.gz")
    assert n_volumes(files[0]) == 1
    assert n_volumes(whole) == 3
    stack = load_stack(files)
    assert stack.data.shape == (3, 5, 6, 7)
    np.testing.assert_array_equal(stack.data, np.moveaxis(echoes, -1, 0))
    np.testing.assert_array_equal(stack.data, load_stack([whole]).data)
    np.testing.assert_array_equal(stack.data[:1], load_stack(files[:1]).data)


def test_values_that_are_not_finite_survive(tmp_path):
    data = random()
    data[0], data[1, 0] = np.nan, np.inf
    np.testing.assert_array_equal(load_stack([save(tmp_path, data)]).data[0], data)


@pytest.mark.parametrize("value", [0, np.nan])
def test_empty_echo_is_refused(tmp_path, value):
    good = save(tmp_path, random(), "good.nii")
    empty = save(tmp_path, np.full((5, 6, 7), value, np.float32), "empty.nii")
    with pytest.raises(DataError, match=r"empty\.nii holds an empty volume"):
        load_stack([good, empty])


def test_real_and_imaginary_part_give_magnitude_and_phase(tmp_path):
    magnitude = 1 + random() ** 2
    phase = np.linspace(-3, 3, magnitude.size, dtype=np.float32).reshape(magnitude.shape)
    signal = magnitude * np.exp(1j * phase)
    real = save(tmp_path, signal.real, "real.nii")
    imag = save(tmp_path, signal.imag, "imag.nii")
    loaded = load_real_imag([real], [imag])
    np.testing.assert_allclose(loaded[0].data[0], magnitude, rtol=1e-5)
    np.testing.assert_allclose(loaded[1].data[0], phase, atol=1e-5)
    assert loaded[1].data.dtype == loaded[1].stored_dtype == np.float32


def test_real_part_that_lost_its_offset_is_refused(tmp_path):
    real = save(tmp_path, random() + 2048, "real.nii")
    imag = save(tmp_path, random(), "imag.nii")
    with pytest.raises(DataError, match=r"real\.nii: the real part has no negative value"):
        load_real_imag([real], [imag])


def test_different_shapes_name_both_files(tmp_path):
    files = [save(tmp_path, random(s), f"{s[2]}.nii") for s in ((5, 6, 7), (5, 6, 8))]
    with pytest.raises(DataError, match=r"7\.nii has shape \(5, 6, 7\) but .*8\.nii \(5, 6, 8\)"):
        check_same_grid(files)


@pytest.mark.parametrize("axis", [1, 4])
@fault("a negative matrix size in a NIfTI header")
def test_a_negative_size_is_refused(tmp_path, axis):
    path = save(tmp_path, random((5, 6, 7, 2)), "a.nii")
    content = bytearray(path.read_bytes())
    content[40 + 2 * axis : 42 + 2 * axis] = struct.pack("<h", -2)  # dim[axis]
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.nii has shape \(.*-2"):
        load_stack([path])


@pytest.mark.parametrize(("shift_mm", "same"), [(1e-4, True), (0.5, False)])
def test_affines_may_differ_by_rounding_only(tmp_path, shift_mm, same):
    shifted = OBLIQUE.copy()
    shifted[0, 3] += shift_mm
    files = [save(tmp_path, random(), "a.nii"), save(tmp_path, random(), "b.nii", shifted)]
    if same:
        assert check_same_grid(files) == (5, 6, 7)
    else:
        with pytest.raises(DataError, match=r"a\.nii and .*b\.nii have different affines"):
            check_same_grid(files)


def write_with_forms(path, sform, qform):
    image = nib.Nifti1Image(random(), OBLIQUE)
    image.set_sform(sform, 0 if sform is None else 1)
    image.set_qform(qform, 0 if qform is None else 1)
    nib.save(image, path)
    return path


def test_missing_affine_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"none\.nii has neither sform nor qform"):
        load_volume(write_with_forms(tmp_path / "none.nii", None, None))


@pytest.mark.parametrize("forms", [(OBLIQUE, None), (None, OBLIQUE)])
def test_one_valid_form_is_enough(tmp_path, forms):
    volume = load_volume(write_with_forms(tmp_path / "one.nii", *forms))
    np.testing.assert_allclose(volume.affine, OBLIQUE, atol=1e-5)


def test_forms_that_contradict_each_other_are_refused(tmp_path):
    with pytest.raises(DataError, match="sform and qform disagree"):
        load_volume(write_with_forms(tmp_path / "two.nii", OBLIQUE, np.diag([1, 1, 1, 1])))


def test_singular_affine_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"flat\.nii: the affine is singular"):
        load_volume(write_with_forms(tmp_path / "flat.nii", np.diag([1, 1, 0, 1]), None))


def test_truncated_foreign_and_absent_files_are_named(tmp_path):
    whole = save(tmp_path, random((20, 20, 20)))
    (tmp_path / "cut.nii.gz").write_bytes(whole.read_bytes()[:2000])
    (tmp_path / "text.nii.gz").write_text("git-annex pointer")
    (tmp_path / "empty.nii").touch()
    for name in ("cut.nii.gz", "text.nii.gz", "empty.nii", "absent.nii"):
        with pytest.raises(DataError, match=rf"{name} cannot be read"):
            load_volume(tmp_path / name)


def test_five_dimensions_are_refused(tmp_path):
    with pytest.raises(DataError, match="3D, or 4D with echoes last"):
        check_same_grid([save(tmp_path, random((2, 2, 2, 2, 2)))])


@pytest.mark.skipif(
    "ISDU_BIDS_TEST_DATA" not in os.environ, reason="ISDU_BIDS_TEST_DATA is not set"
)
def test_real_files():
    data = Path(os.environ["ISDU_BIDS_TEST_DATA"])
    phase = load_stack(sorted(data.glob("bids_philips/sub-01/anat/*part-phase_MEGRE.nii.gz")))
    assert phase.data.shape == (2, 80, 80, 53)
    assert phase.stored_dtype == np.int16
    assert np.abs(phase.data).max() == pytest.approx(np.pi, rel=1e-3)


@fault("a byte of a compressed image changed", "refused: its checksum")
def test_a_compressed_image_is_read_to_its_checksum(tmp_path):
    noise = np.random.default_rng(0).normal(size=(20, 20, 20))
    path = save_volume(noise, np.diag([2.0, 2, 2, 1]), tmp_path / "a.nii.gz")
    content = bytearray(path.read_bytes())
    content[-8] ^= 255  # of the checksum itself, so that all voxels can be read
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.nii\.gz cannot be read \(CRC check failed"):
        load_volume(path)
