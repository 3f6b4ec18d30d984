"""The interactive viewer of a scan: one page with its maps inside, for NiiVue to show.

A page that is opened from disk may not fetch files, but may run scripts that lie beside it. So the
maps are embedded, in 256 levels and cut to the brain, and NiiVue lies once in the dataset.
"""

from __future__ import annotations

import gzip
import os
import shutil
from base64 import b64encode
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
from jinja2 import Environment

from isdu_bids.files import replacing, write_text
from isdu_bids.physics.padding import Box
from isdu_bids.quality.maps import ScanMaps
from isdu_bids.reports.figures import CHI_WINDOW_PPM, LOCAL_FIELD_WINDOW_PPM, R2STAR_LIMIT_PER_S
from isdu_bids.reports.mosaic import View, Volume
from isdu_bids.segmentation.labels import REGIONS
from isdu_bids.units import ppm_to_hz

#: Maps of more voxels are shown at half the resolution, or a third, and so on.
MAX_VOXELS = 4_000_000


@dataclass(frozen=True)
class Layer:
    """A map in the viewer: its values from ``low`` to ``high``, its window, its picture."""

    name: str
    unit: str
    window: tuple[float, float]
    colormap: str
    nifti: str


def viewer_path(folder: Path, name: str) -> Path:
    """Page of a scan's viewer in the folder of its figures."""
    return folder / f"{name}_viewer.html"


def write_viewer(scan: ScanMaps, folder: Path, name: str, script_folder: Path) -> Path:
    """Write the viewer of a scan.

    Parameters
    ----------
    scan
        The maps.
    folder
        The subject's ``figures`` folder.
    name
        Of the scan.
    script_folder
        Of the dataset, for NiiVue and its licence.
    """
    data = files("isdu_bids") / "data"
    for file in ("niivue.umd.js", "LICENSE"):
        if not (script_folder / file).exists():
            with as_file(data / "viewer" / file) as source, replacing(script_folder / file) as new:
                shutil.copyfile(source, new)
    text = (data / "reports" / "viewer.html.j2").read_text(encoding="utf-8")
    script = os.path.relpath(script_folder / "niivue.umd.js", folder)
    page = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(text)
    return write_text(
        viewer_path(folder, name),
        page.render(
            name=name,
            script=Path(script).as_posix(),
            layers=[vars(layer) for layer in _layers(scan)],
            labels=_labels(scan),
        ),
    )


def _layers(scan: ScanMaps) -> list[Layer]:
    view = View.around(scan.brain_mask, scan.affine)
    step = 1
    while np.prod([(cut.stop - cut.start) / step for cut in view.box]) > MAX_VOXELS:
        step += 1

    def layer(
        name: str, unit: str, volume: Volume, mask: Volume | None, reach: float, *, signed: bool,
        window: float, colormap: str = "gray",
    ) -> Layer:  # fmt: skip
        low = -reach if signed else 0.0
        inside = volume if mask is None else np.where(mask > 0, volume, low)
        levels = np.clip((np.nan_to_num(inside) - low) / (reach - low), 0, 1) * 255
        picture = _nifti(np.rint(levels).astype(np.uint8), scan.affine, view.box, step,
                         slope=(reach - low) / 255, intercept=low)  # fmt: skip
        return Layer(name, unit, (-window if signed else 0.0, window), colormap, picture)

    brightest = float(np.percentile(scan.magnitude[0][view.box], 99.5)) or 1.0
    hz = ppm_to_hz(1.0, scan.field_strength_t)
    layers = [
        layer("Susceptibility", "ppm", scan.chi_ppm, scan.eroded_mask, 0.4, signed=True,
              window=CHI_WINDOW_PPM),
        layer("Magnitude", "", scan.magnitude[0] / brightest, None, 1.2, signed=False,
              window=1.0),
        layer("Local field", "Hz", scan.local_field_ppm * hz, scan.eroded_mask, 0.2 * hz,
              signed=True, window=LOCAL_FIELD_WINDOW_PPM * hz),
    ]  # fmt: skip
    if scan.r2star is not None:
        layers.append(
            layer("R2*", "1/s", scan.r2star, scan.brain_mask, 200.0, signed=False,
                  window=R2STAR_LIMIT_PER_S)
        )  # fmt: skip
    if scan.labels is not None:
        known = np.where(np.isin(scan.labels, _LABELS), scan.labels, 0)
        picture = _nifti(known.astype(np.uint8), scan.affine, view.box, step)
        layers.append(Layer("Regions", "", (0.0, 255.0), "gray", picture))
    return layers


#: Those that fit into a byte: parcels of the cortex do not, and their region is what they are in.
_LABELS = [label for label in REGIONS if 0 < label < 256]


def _labels(scan: ScanMaps) -> dict[str, list[int] | list[str]]:
    """Table of colours as NiiVue takes it; empty without labels."""
    if scan.labels is None:
        return {}
    shown = [0, *_LABELS]
    colours = [REGIONS[label].colour or "#888888" for label in shown]
    red, green, blue = ([int(c[i : i + 2], 16) for c in colours] for i in (1, 3, 5))
    return {
        "R": red,
        "G": green,
        "B": blue,
        "A": [0, *[255] * len(_LABELS)],
        "I": shown,
        "labels": [REGIONS[label].name for label in shown],
    }


def _nifti(
    volume: npt.NDArray[np.uint8],
    affine: npt.ArrayLike,
    box: Box,
    step: int,
    slope: float = 1.0,
    intercept: float = 0.0,
) -> str:
    """Part of a volume as a compressed NIfTI in base64."""
    matrix = np.array(affine, dtype=float)
    matrix[:3, 3] += matrix[:3, :3] @ [cut.start for cut in box]
    matrix[:3, :3] *= step
    image = nib.Nifti1Image(volume[box][::step, ::step, ::step], matrix)
    image.header.set_slope_inter(slope, intercept)
    stored = image.to_bytes()
    return b64encode(gzip.compress(stored, compresslevel=9, mtime=0)).decode()
