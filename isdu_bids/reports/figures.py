"""The figures of one scan: what a reader must see to believe, or not believe, its map."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from isdu_bids.reports.mosaic import PLANES, Row, View, Volume, to_ras
from isdu_bids.reports.page import Panel, Scale, draw_contours, draw_page, save_figure
from isdu_bids.reports.regions import NUCLEI, OUTLINES
from isdu_bids.units import ppm_to_hz

#: Fixed windows, so that scans can be compared at a glance. Fields are in ppm of B0, shown in Hz.
CHI_WINDOW_PPM = 0.1
HISTOGRAM_LIMIT_PPM = 0.25
TOTAL_FIELD_WINDOW_PPM = 0.8
LOCAL_FIELD_WINDOW_PPM = 0.05

_BRAIN_COLOR, _ERODED_COLOR = "#e69f00", "#56b4e9"  # distinct to colour-blind eyes (Okabe-Ito)
_MAX_ECHOES = 6


@dataclass(frozen=True)
class ScanFigures:
    """Everything that is drawn of one scan, on its own voxel grid.

    Attributes
    ----------
    magnitude, wrapped_rad, unwrapped_rad
        Shape ``(echo, x, y, z)``.
    brain_mask, eroded_mask
        Mask of the brain, and where the local field and the susceptibility are valid.
    total_field_ppm, local_field_ppm, chi_ppm
        Shape ``(x, y, z)``.
    quality
        Phase quality between 0 and 1 (best), shape ``(x, y, z)``.
    affine
        Voxel to world (RAS+, mm), shape ``(4, 4)``.
    field_strength_t, echo_times_s
        For units and captions.
    labels
        FreeSurfer's numbers on the same grid, 0 is background; None: not segmented.
    """

    magnitude: Volume
    brain_mask: Volume
    eroded_mask: Volume
    wrapped_rad: Volume
    unwrapped_rad: Volume
    total_field_ppm: Volume
    local_field_ppm: Volume
    quality: Volume
    chi_ppm: Volume
    affine: npt.ArrayLike
    field_strength_t: float
    echo_times_s: Sequence[float]
    labels: Volume | None = None

    def in_ras(self) -> ScanFigures:
        """Turn the voxel axes to those nearest to right, anterior, superior."""
        turned: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray) and field.name != "affine":
                turned[field.name], turned["affine"] = to_ras(value, self.affine)
        return replace(self, **turned)


def draw_figures(scan: ScanFigures, folder: Path, stem: str) -> list[Path]:
    """Draw every figure of a scan as ``folder/{stem}_desc-*_*.png``.

    Parameters
    ----------
    scan
        The arrays.
    folder
        The subject's ``figures`` folder; made if missing.
    stem
        Source entities, e.g. ``sub-01_ses-1_run-2``.

    Returns
    -------
    list of Path
        The files, in the order of the report.
    """
    folder.mkdir(parents=True, exist_ok=True)
    scan = scan.in_ras()
    view = View.around(scan.brain_mask, scan.affine)
    paths = []
    for name, draw in _FIGURES.items():
        path = folder / f"{stem}_{name}.png"
        if draw is _regions and scan.labels is None:
            path.unlink(missing_ok=True)  # an earlier run's, which the report would show
            continue
        save_figure(draw(scan, view), path)
        paths.append(path)
    return paths


def _magnitude(scan: ScanFigures, view: View) -> Figure:
    figure, axes, rows = _first_magnitude(scan, view, f"Magnitude, {_te(scan, 0)}")
    for mask, color in ((scan.brain_mask, _BRAIN_COLOR), (scan.eroded_mask, _ERODED_COLOR)):
        draw_contours(axes, view, _showing(mask, rows), color)
    lines = [Line2D([], [], color=color) for color in (_BRAIN_COLOR, _ERODED_COLOR)]
    names = ["brain mask", "eroded mask, where the map is valid"]
    figure.legend(lines, names, loc="upper right", ncols=2, frameon=False, fontsize=9)
    return figure


def _phase(scan: ScanFigures, view: View) -> Figure:
    n_echoes, last_te_s = len(scan.echo_times_s), scan.echo_times_s[-1]
    wrapped, unwrapped = [], []
    for echo in sorted({round(e) for e in np.linspace(0, n_echoes - 1, _MAX_ECHOES)}):
        at_last_te = scan.unwrapped_rad[echo] * (last_te_s / scan.echo_times_s[echo])
        row = Row(scan.wrapped_rad[echo], "axial", (0.35, 0.5, 0.65), _te(scan, echo))
        wrapped.append(row)
        unwrapped.append(replace(row, volume=_masked(at_last_te, scan.brain_mask)))
    window = np.pi * np.ceil(_percentile(np.abs([row.volume for row in unwrapped]), 98) / np.pi)
    to_last_te = f"rad, scaled to TE = {last_te_s * 1e3:.4g} ms"
    figure, _ = draw_page(
        view,
        Panel("Wrapped phase", wrapped, Scale("rad", -np.pi, np.pi)),
        Panel("Unwrapped phase", unwrapped, Scale(to_last_te, -window, window, "RdBu_r", "white")),
    )
    return figure


def _quality(scan: ScanFigures, view: View) -> Figure:
    rows = _three_planes(_masked(scan.quality, scan.brain_mask), view)
    scale = Scale("1 is best", 0.0, 1.0, "viridis", "white")
    return draw_page(view, Panel("Phase quality", rows, scale))[0]


def _field(
    scan: ScanFigures, view: View, title: str, field_ppm: Volume, mask: Volume, window_ppm: float
) -> Figure:
    window_hz = ppm_to_hz(window_ppm, scan.field_strength_t)
    scale = Scale(f"Hz (±{window_ppm} ppm of B0)", -window_hz, window_hz, "RdBu_r", "white")
    field_hz = _masked(ppm_to_hz(field_ppm, scan.field_strength_t), mask)
    return draw_page(view, Panel(title, _three_planes(field_hz, view), scale))[0]


def _total_field(scan: ScanFigures, view: View) -> Figure:
    offset_ppm = _percentile(_masked(scan.total_field_ppm, scan.brain_mask), 50)
    offset_hz = ppm_to_hz(offset_ppm, scan.field_strength_t)
    title = f"Total field, less its median in the brain ({offset_hz:.1f} Hz)"
    centred = scan.total_field_ppm - offset_ppm
    return _field(scan, view, title, centred, scan.brain_mask, TOTAL_FIELD_WINDOW_PPM)


def _local_field(scan: ScanFigures, view: View) -> Figure:
    field, mask = scan.local_field_ppm, scan.eroded_mask
    return _field(scan, view, "Local field", field, mask, LOCAL_FIELD_WINDOW_PPM)


def _chi(scan: ScanFigures, view: View) -> Figure:
    rows = _three_planes(_masked(scan.chi_ppm, scan.eroded_mask), view)
    scale = Scale("ppm", -CHI_WINDOW_PPM, CHI_WINDOW_PPM)
    return draw_page(view, Panel("Magnetic susceptibility", rows, scale))[0]


def _histogram(scan: ScanFigures, _: View) -> Figure:
    values = _masked(scan.chi_ppm, scan.eroded_mask)
    values = values[np.isfinite(values)]
    limits = (-HISTOGRAM_LIMIT_PPM, HISTOGRAM_LIMIT_PPM)
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    axes = figure.add_subplot()
    axes.hist(values, bins=150, range=limits, color="#56799c")
    axes.axvline(0, color="0.2", linewidth=1)
    if len(values):
        beyond = np.mean(np.abs(values) > HISTOGRAM_LIMIT_PPM)
        mean = round(float(values.mean()), 4) + 0.0  # no negative zero
        note = f"mean {mean:+.4f} ppm\nSD {values.std():.4f} ppm\n{beyond:.2%} off the scale"
        axes.text(0.99, 0.95, note, transform=axes.transAxes, ha="right", va="top")
    axes.set(xlabel="magnetic susceptibility (ppm)", ylabel="voxels", xlim=limits)
    axes.set_title("Susceptibility in the eroded mask", loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _regions(scan: ScanFigures, view: View) -> Figure:
    assert scan.labels is not None
    rows = _through_nuclei(scan.labels, view)
    combined = np.sqrt(np.mean(scan.magnitude**2, axis=0))
    relative = combined / _percentile(combined[view.box], 99.5)
    chi = _masked(scan.chi_ppm, scan.eroded_mask)
    figure, both_axes = draw_page(
        view,
        Panel("Regions on the magnitude", _showing(relative, rows), Scale("", 0.0, 1.0)),
        Panel(
            "Regions on the susceptibility",
            _showing(chi, rows),
            Scale("ppm", -CHI_WINDOW_PPM, CHI_WINDOW_PPM),
        ),
    )
    for outline in OUTLINES:
        inside = _showing(np.isin(scan.labels, outline.labels), rows)
        for axes in both_axes:
            draw_contours(axes, view, inside, outline.colour)
    lines = [Line2D([], [], color=outline.colour, label=outline.name) for outline in OUTLINES]
    figure.legend(handles=lines, loc="upper right", frameon=False, fontsize=8, handlelength=1)
    return figure


#: Name of each figure (with its suffix) and how it is drawn, in the order of the report.
_FIGURES: dict[str, Callable[[ScanFigures, View], Figure]] = {
    "desc-masks_magnitude": _magnitude,
    "desc-unwrapping_phase": _phase,
    "desc-quality_phase": _quality,
    "desc-total_fieldmap": _total_field,
    "desc-local_fieldmap": _local_field,
    "desc-mosaic_Chimap": _chi,
    "desc-histogram_Chimap": _histogram,
    "desc-regions_dseg": _regions,
}


def _first_magnitude(scan: ScanFigures, view: View, title: str) -> tuple[Figure, Axes, list[Row]]:
    magnitude = scan.magnitude[0]
    relative = magnitude / _percentile(magnitude[view.box], 99.5)
    rows = _three_planes(relative, view)
    scale = Scale("relative to the 99.5th percentile", 0.0, 1.0)
    figure, (axes,) = draw_page(view, Panel(title, rows, scale))
    return figure, axes, rows


def _three_planes(volume: Volume, view: View) -> list[Row]:
    """Two axial rows from the bottom up, a coronal and a sagittal one, all about equally wide."""
    n_across = 7
    axial_width, _ = view.size_mm("axial")
    sagittal_width, _ = view.size_mm("sagittal")
    n_sagittal = max(1, int(n_across * axial_width / sagittal_width))
    axial = np.linspace(0.15, 0.9, 2 * n_across)
    return [
        Row(volume, "axial", axial[:n_across]),
        Row(volume, "axial", axial[n_across:]),
        Row(volume, "coronal", np.linspace(0.15, 0.85, n_across)),
        Row(volume, "sagittal", np.linspace(0.2, 0.8, n_sagittal)),
    ]


def _through_nuclei(labels: Volume, view: View) -> list[Row]:
    """Two axial and two coronal rows through the deep nuclei; near the middle without any."""
    shown = labels[view.box]
    nuclei = np.nonzero(np.isin(shown, [label for n in NUCLEI for label in n.labels]))
    rows = []
    for plane in ("axial", "coronal"):
        axis, *_ = PLANES[plane]
        first, last = (0.3, 0.7)
        if nuclei[axis].size:
            ends = np.percentile(nuclei[axis], (15, 90))  # beyond are tips and stray voxels
            first, last = ends / max(shown.shape[axis] - 1, 1)
        fractions = np.linspace(first, last, 4)
        rows += [Row(labels, plane, fractions[:2]), Row(labels, plane, fractions[2:])]
    return rows


def _showing(volume: Volume, rows: Sequence[Row]) -> list[Row]:
    return [replace(row, volume=volume) for row in rows]


def _masked(volume: Volume, mask: Volume) -> Volume:
    return np.where(mask.astype(bool), volume, np.nan)


def _percentile(values: npt.ArrayLike, percent: float) -> float:
    """Percentile of the finite values; 1 if there are none, or if it is 0, so that scales exist."""
    array = np.asarray(values)
    finite = array[np.isfinite(array)]
    return (float(np.percentile(finite, percent)) if finite.size else 0.0) or 1.0


def _te(scan: ScanFigures, echo: int) -> str:
    return f"TE = {scan.echo_times_s[echo] * 1e3:.4g} ms"
