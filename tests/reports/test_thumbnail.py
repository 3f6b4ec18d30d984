import numpy as np
import pytest
from PIL import Image

from isdu_bids.reports.thumbnail import SIZE_PX, write_thumbnail


def thumbnail(path, head, **changed):
    maps = {"chi_ppm": head.chi_ppm, "mask": head.eroded_mask, "affine": head.affine,
            "brain": head.brain_mask} | changed  # fmt: skip
    write_thumbnail(path, **maps)
    picture = Image.open(path)
    assert picture.size == SIZE_PX
    return np.asarray(picture.convert("L")).astype(int)


def right_is_bright(head):
    """The half of the volume whose x is positive, on the patient's right in RAS."""
    return np.where(np.arange(head.chi_ppm.shape[0])[:, None, None] > 18, 0.1, -0.08) * np.ones(
        head.chi_ppm.shape
    )


@pytest.mark.parametrize("flipped", [False, True])
def test_left_of_the_picture_is_left_of_the_patient(head, tmp_path, flipped):
    chi, affine, mask = right_is_bright(head), head.affine.copy(), head.eroded_mask
    if flipped:  # stored from right to left: the same head
        chi, mask = chi[::-1], mask[::-1]
        affine[:, 0] *= -1
        affine[0, 3] *= -1
    picture = thumbnail(tmp_path / "a.png", head, chi_ppm=chi, mask=mask, affine=affine, brain=mask)
    row = picture[SIZE_PX[1] // 2]
    axial = row[: SIZE_PX[0] // 2]
    bright, dark = np.flatnonzero(axial > 200), np.flatnonzero((axial > 4) & (axial < 60))
    assert dark.max() < bright.min() + 2


def test_black_where_the_map_is_not_valid(head, tmp_path):
    chi = np.full(head.chi_ppm.shape, 0.1)
    picture = thumbnail(tmp_path / "a.png", head, chi_ppm=chi)
    assert picture[0].max() == 0
    assert picture.max() == 255
    empty = thumbnail(tmp_path / "b.png", head, mask=np.zeros(chi.shape, bool))
    assert empty.max() == 0


def test_slices_cut_the_pallidum(head, tmp_path):
    chi, labels = np.zeros(head.chi_ppm.shape), np.zeros(head.chi_ppm.shape, int)
    labels[22:25, 20:24, 15:17] = 52
    chi[labels == 52] = 0.1
    assert thumbnail(tmp_path / "a.png", head, chi_ppm=chi, labels=labels).max() > 240
    assert thumbnail(tmp_path / "b.png", head, chi_ppm=chi).max() < 200
