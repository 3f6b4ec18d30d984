"""The figures of one scan: what a reader must see to believe, or not believe, its map."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from isdu_bids.quality.maps import MAP_NAMES, ScanMaps
from isdu_bids.reports.mosaic import Row, View, Volume, to_ras
from isdu_bids.reports.page import Panel, Scale, draw_contours, draw_page, save_figure
from isdu_bids.reports.regions import OUTLINES
from isdu_bids.reports.rows import masked, percentile, showing, three_planes, through_nuclei
from isdu_bids.units import ppm_to_hz

#: Fixed windows, so that scans can be compared at a glance. Fields are in ppm of B0, shown in Hz.
CHI_WINDOW_PPM = 0.1
HISTOGRAM_LIMIT_PPM = 0.25
TOTAL_FIELD_WINDOW_PPM = 0.8
LOCAL_FIELD_WINDOW_PPM = 0.05

_BRAIN_COLOR, _ERODED_COLOR = "#e69f00", "#56b4e9"  # distinct to colour-blind eyes (Okabe-Ito)
_MAX_ECHOES = 6


@dataclass(frozen=True)
class ScanFigure:
    """A figure of the report.

    Attributes
    ----------
    name
        End of its file name, with the suffix.
    section
        Of the report, in which figures follow each other as in `FIGURES`.
    draw
        Draws a scan whose voxel axes are nearest to right, anterior, superior.
    caption
        What a reader should look for.
    needs
        Maps without which there is no figure.
    """

    name: str
    section: str
    draw: Callable[[ScanMaps, View], Figure]
    caption: str = ""
    needs: tuple[str, ...] = ()


def draw_figures(scan: ScanMaps, folder: Path, stem: str) -> list[Path]:
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
    scan = in_ras(scan)
    view = View.around(scan.brain_mask, scan.affine)
    paths = []
    for figure in FIGURES:
        path = folder / f"{stem}_{figure.name}.png"
        if any(getattr(scan, name) is None for name in figure.needs):
            path.unlink(missing_ok=True)  # an earlier run's, which the report would show
            continue
        save_figure(figure.draw(scan, view), path)
        paths.append(path)
    return paths


def in_ras(scan: ScanMaps) -> ScanMaps:
    """Turn the voxel axes of the volumes to those nearest to right, anterior, superior."""
    turned: dict[str, Any] = {}
    for name in MAP_NAMES:
        if (volume := getattr(scan, name)) is not None:
            turned[name], turned["affine"] = to_ras(volume, scan.affine)
    return replace(scan, **turned)


def _magnitude(scan: ScanMaps, view: View) -> Figure:
    figure, axes, rows = _first_magnitude(scan, view, f"Magnitude, {_te(scan, 0)}")
    for mask, color in ((scan.brain_mask, _BRAIN_COLOR), (scan.eroded_mask, _ERODED_COLOR)):
        draw_contours(axes, view, showing(mask, rows), color)
    lines = [Line2D([], [], color=color) for color in (_BRAIN_COLOR, _ERODED_COLOR)]
    names = ["brain mask", "eroded mask, where the map is valid"]
    figure.legend(lines, names, loc="upper right", ncols=2, frameon=False, fontsize=9)
    return figure


def _phase(scan: ScanMaps, view: View) -> Figure:
    assert scan.phase is not None
    assert scan.unwrapped is not None
    n_echoes, last_te_s = len(scan.echo_times_s), scan.echo_times_s[-1]
    wrapped, unwrapped = [], []
    for echo in sorted({round(e) for e in np.linspace(0, n_echoes - 1, _MAX_ECHOES)}):
        at_last_te = scan.unwrapped[echo] * (last_te_s / scan.echo_times_s[echo])
        row = Row(scan.phase[echo], "axial", (0.35, 0.5, 0.65), _te(scan, echo))
        wrapped.append(row)
        unwrapped.append(replace(row, volume=masked(at_last_te, scan.brain_mask)))
    window = np.pi * np.ceil(percentile(np.abs([row.volume for row in unwrapped]), 98) / np.pi)
    to_last_te = f"rad, scaled to TE = {last_te_s * 1e3:.4g} ms"
    figure, _ = draw_page(
        view,
        Panel("Wrapped phase", wrapped, Scale("rad", -np.pi, np.pi)),
        Panel("Unwrapped phase", unwrapped, Scale(to_last_te, -window, window, "RdBu_r", "white")),
    )
    return figure


def _quality(scan: ScanMaps, view: View) -> Figure:
    rows = three_planes(masked(scan.quality, scan.brain_mask), view)
    scale = Scale("1 is best", 0.0, 1.0, "viridis", "white")
    return draw_page(view, Panel("Phase quality", rows, scale))[0]


def _field(
    scan: ScanMaps, view: View, title: str, field_ppm: Volume, mask: Volume, window_ppm: float
) -> Figure:
    window_hz = ppm_to_hz(window_ppm, scan.field_strength_t)
    scale = Scale(f"Hz (±{window_ppm} ppm of B0)", -window_hz, window_hz, "RdBu_r", "white")
    field_hz = masked(ppm_to_hz(field_ppm, scan.field_strength_t), mask)
    return draw_page(view, Panel(title, three_planes(field_hz, view), scale))[0]


def _total_field(scan: ScanMaps, view: View) -> Figure:
    offset_ppm = percentile(masked(scan.total_field_ppm, scan.brain_mask), 50)
    offset_hz = ppm_to_hz(offset_ppm, scan.field_strength_t)
    title = f"Total field, less its median in the brain ({offset_hz:.1f} Hz)"
    centred = scan.total_field_ppm - offset_ppm
    return _field(scan, view, title, centred, scan.brain_mask, TOTAL_FIELD_WINDOW_PPM)


def _local_field(scan: ScanMaps, view: View) -> Figure:
    field, mask = scan.local_field_ppm, scan.eroded_mask
    return _field(scan, view, "Local field", field, mask, LOCAL_FIELD_WINDOW_PPM)


def _chi(scan: ScanMaps, view: View) -> Figure:
    rows = three_planes(masked(scan.chi_ppm, scan.eroded_mask), view)
    scale = Scale("ppm", -CHI_WINDOW_PPM, CHI_WINDOW_PPM)
    return draw_page(view, Panel("Magnetic susceptibility", rows, scale))[0]


def _histogram(scan: ScanMaps, _: View) -> Figure:
    values = masked(scan.chi_ppm, scan.eroded_mask)
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


def _regions(scan: ScanMaps, view: View) -> Figure:
    assert scan.labels is not None
    rows = through_nuclei(scan.labels, view)
    combined = np.sqrt(np.mean(scan.magnitude**2, axis=0))
    relative = combined / percentile(combined[view.box], 99.5)
    chi = masked(scan.chi_ppm, scan.eroded_mask)
    figure, both_axes = draw_page(
        view,
        Panel("Regions on the magnitude", showing(relative, rows), Scale("", 0.0, 1.0)),
        Panel(
            "Regions on the susceptibility",
            showing(chi, rows),
            Scale("ppm", -CHI_WINDOW_PPM, CHI_WINDOW_PPM),
        ),
    )
    for outline in OUTLINES:
        inside = showing(np.isin(scan.labels, outline.labels), rows)
        for axes in both_axes:
            draw_contours(axes, view, inside, outline.colour)
    lines = [Line2D([], [], color=outline.colour, label=outline.name) for outline in OUTLINES]
    figure.legend(handles=lines, loc="upper right", frameon=False, fontsize=8, handlelength=1)
    return figure


def _first_magnitude(scan: ScanMaps, view: View, title: str) -> tuple[Figure, Axes, list[Row]]:
    magnitude = scan.magnitude[0]
    relative = magnitude / percentile(magnitude[view.box], 99.5)
    rows = three_planes(relative, view)
    scale = Scale("relative to the 99.5th percentile", 0.0, 1.0)
    figure, (axes,) = draw_page(view, Panel(title, rows, scale))
    return figure, axes, rows


def _te(scan: ScanMaps, echo: int) -> str:
    return f"TE = {scan.echo_times_s[echo] * 1e3:.4g} ms"


FIGURES = (
    ScanFigure(
        "desc-masks_magnitude", "Magnitude and masks", _magnitude,
        "The orange line should follow the surface of the brain, and leave out sinuses and skull. "
        "The map is valid inside the blue line. Left of the picture is left of the patient, here "
        "and below.",
    ),
    ScanFigure(
        "desc-unwrapping_phase", "Phase", _phase,
        "Unwrapped phase is scaled to the last echo time, so all echoes should look alike; sharp "
        "edges that only one echo shows are wraps left over. It has lost its offset at echo time "
        "zero.",
        needs=("phase", "unwrapped"),
    ),
    ScanFigure(
        "desc-quality_phase", "Phase", _quality,
        "How well neighbours and echoes agree. Dark patches beside air are usual; dark tissue is "
        "not.",
    ),
    ScanFigure(
        "desc-total_fieldmap", "Fields", _total_field,
        "Field of all sources. It should be smooth, and strong only above sinuses and ear canals.",
    ),
    ScanFigure(
        "desc-local_fieldmap", "Fields", _local_field,
        "Field of the sources inside the brain, sixteen times finer. Anatomy should show; broad "
        "shades at the rim are background field left over.",
    ),
    ScanFigure(
        "desc-mosaic_Chimap", "Susceptibility", _chi,
        "Deep grey nuclei and veins should be bright, white matter darker than grey. Diagonal "
        "stripes in the coronal and sagittal planes are streaks.",
    ),
    ScanFigure("desc-histogram_Chimap", "Susceptibility", _histogram),
    ScanFigure(
        "desc-regions_dseg", "Regions", _regions,
        "Outlines should follow the anatomy in both images, and left and right be alike. White "
        "matter is what the cortex encloses. Beyond the edge of the map nothing is counted.",
        needs=("labels",),
    ),
)  # fmt: skip
