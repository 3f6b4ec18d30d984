"""An image appears whole and with its own sidecar, whatever happens on the way."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from faults import fault

from isdu_bids.bids import derivatives
from isdu_bids.bids.derivatives import write_with_sidecar
from isdu_bids.errors import OutputError
from isdu_bids.files import read_json, write_text
from isdu_bids.images import load_volume, save_volume
from isdu_bids.reports.page import save_figure

SHAPE = (8, 9, 10)


@pytest.fixture
def image(tmp_path) -> Path:
    return tmp_path / "anat" / "sub-01_Chimap.nii.gz"


def write(image: Path, value: float) -> None:
    write_with_sidecar(image, np.full(SHAPE, value), np.eye(4), {"Value": value})


def full(*arguments, **keywords):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@fault("disk full while an image is written", "one line; the earlier image stays as it was", 73)
@pytest.mark.parametrize("of", ["image", "sidecar"])
def test_a_full_disk_leaves_what_there_was(image, monkeypatch, of):
    write(image, 1.0)
    monkeypatch.setattr(derivatives, {"image": "save_volume", "sidecar": "write_json"}[of], full)
    with pytest.raises(OutputError, match=r"cannot be written \(No space left on device\)"):
        write(image, 2.0)
    assert load_volume(image).data.max() == 1
    assert read_json(image.with_name("sub-01_Chimap.json")) == {"Value": 1.0}
    assert len(list(image.parent.iterdir())) == 2


def test_the_sidecar_is_there_before_its_image(image, monkeypatch):
    """Seen by every other process at every moment: no image, or one with its own sidecar."""
    write(image, 1.0)
    replace, seen = Path.replace, []

    def watched(self: Path, target: Path) -> Path:
        done = replace(self, target)
        texts = [read_json(p)["Value"] for p in image.parent.glob("sub-*.json")]
        values = [load_volume(p).data.max() for p in image.parent.glob("sub-*.nii.gz")]
        seen.append((texts, values))
        return done

    monkeypatch.setattr(Path, "replace", watched)
    write(image, 2.0)
    assert seen[-2:] == [([2.0], []), ([2.0], [2.0])]
    assert all(values in ([], texts) for texts, values in seen)


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from isdu_bids.bids import derivatives
save = derivatives.save_volume
def killed(volume, affine, path):
    save(volume, affine, path)
    os.truncate(path, 100)
    os.kill(os.getpid(), signal.SIGKILL)
derivatives.save_volume = killed
derivatives.write_with_sidecar(Path(sys.argv[1]), np.ones((8, 9, 10)), np.eye(4), {})
"""


@fault("killed by SIGKILL in the middle of an image", "no image, or the earlier one, whole", 137)
def test_a_killed_writer_leaves_no_half_image(image):
    write(image, 1.0)
    done = subprocess.run([sys.executable, "-c", KILLED, str(image)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert load_volume(image).data.max() == 1


def write_page(path: Path) -> None:
    from matplotlib.figure import Figure

    save_figure(Figure(figsize=(1, 1)), path)


@fault("a figure, a page or an image is a link to a file elsewhere", "its target is not written", 0)
@pytest.mark.parametrize(
    ("name", "writer"),
    [
        ("a.png", write_page),
        ("a.html", lambda path: write_text(path, "page")),
        ("a.nii.gz", lambda path: save_volume(np.ones(SHAPE), np.eye(4), path)),
    ],
)
def test_links_are_replaced_not_followed(tmp_path, name, writer):
    target = tmp_path / "target"
    target.write_text("mine")
    (tmp_path / name).symlink_to(target)
    writer(tmp_path / name)
    assert target.read_text() == "mine"
    assert not (tmp_path / name).is_symlink()


def test_a_figure_on_a_full_disk_is_told(tmp_path, monkeypatch):
    from PIL import Image

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OutputError, match="No space left on device"):
        write_page(tmp_path / "a.png")
    assert not list(tmp_path.iterdir())
