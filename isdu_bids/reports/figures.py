"""The figures of one scan: what a reader must see to believe, or not believe, its map."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from nibabel.orientations import io_orientation

from isdu_bids.inversion.invert import invert
from isdu_bids.quality.maps import MAP_NAMES, ScanMaps
from isdu_bids.quality.residual import fit_residual_rad, unexplained_field_ppm
from isdu_bids.reports.mosaic import Row, View, Volume, to_ras
from isdu_bids.reports.page import Panel, Scale, draw_contours, draw_page, save_figure
from isdu_bids.reports.regions import OUTLINES
from isdu_bids.reports.rows import (
    Slices,
    all_slices,
    choose_slices,
    few_slices,
    masked,
    percentile,
    showing,
    through_nuclei,
)
from isdu_bids.units import ppm_to_hz

#: Fixed windows, so that scans can be compared at a glance. Fields are in ppm of B0, shown in Hz.
CHI_WINDOW_PPM = 0.1
HISTOGRAM_LIMIT_PPM = 0.25
TOTAL_FIELD_WINDOW_PPM = 0.8
LOCAL_FIELD_WINDOW_PPM = 0.05
UNEXPLAINED_WINDOW_PPM = 0.02
CHI_SD_LIMIT_PPM = 0.03
R2STAR_LIMIT_PER_S = 60.0
FIT_RESIDUAL_LIMIT_RAD = 0.5

_CHI_SCALE = Scale("ppm", -CHI_WINDOW_PPM, CHI_WINDOW_PPM, extend="both")
_BRAIN_COLOR, _ERODED_COLOR = "#e69f00", "#56b4e9"  # distinct to colour-blind eyes (Okabe-Ito)


@dataclass(frozen=True)
class ScanFigure:
    """A figure of the report.

    Attributes
    ----------
    name
        End of its file name, with the suffix and the extension.
    section
        Of the report, in which figures follow each other as in `FIGURES`.
    title
        What it shows, in a few words.
    draw
        Draws a scan whose voxel axes are nearest to right, anterior, superior.
    caption
        What a reader should look for.
    needs
        Maps without which there is no figure.
    """

    name: str
    section: str
    title: str
    draw: Callable[[ScanMaps, View, Slices], Figure]
    caption: str = ""
    needs: tuple[str, ...] = ()


#: The section whose figures show one map each in the same slices, so that a reader can flip them.
MAPS = "Maps"


def draw_figures(scan: ScanMaps, folder: Path, stem: str) -> list[Path]:
    """Draw every figure of a scan as ``folder/{stem}_desc-*``.

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
    scan = in_ras(scan)
    view = View.around(scan.brain_mask, scan.affine)
    slices = choose_slices(view, scan.brain, scan.labels)
    paths = []
    for figure in FIGURES:
        path = folder / f"{stem}_{figure.name}"
        if any(getattr(scan, name) is None for name in figure.needs):
            path.unlink(missing_ok=True)  # an earlier run's, which the report would show
            continue
        save_figure(figure.draw(scan, view, slices), path)
        paths.append(path)
    return paths


def in_ras(scan: ScanMaps) -> ScanMaps:
    """Turn the voxel axes to those nearest to right, anterior, superior."""
    turned: dict[str, Any] = {}
    for name in MAP_NAMES:
        if (volume := getattr(scan, name)) is not None:
            turned[name], turned["affine"] = to_ras(volume, scan.affine)
    direction = [0.0, 0.0, 0.0]
    for component, (axis, sign) in zip(scan.b0_direction, io_orientation(scan.affine), strict=True):
        direction[int(axis)] = sign * component
    x, y, z = direction
    return replace(scan, **turned, b0_direction=(x, y, z))


def _map(title: str, volume: Volume, scale: Scale, view: View, slices: Slices) -> Figure:
    return draw_page(view, Panel(title, all_slices(volume, slices), scale))[0]


def _chi(scan: ScanMaps, view: View, slices: Slices) -> Figure:
    chi = masked(scan.chi_ppm, scan.eroded_mask)
    return _map("Magnetic susceptibility", chi, _CHI_SCALE, view, slices)


def _magnitude(scan: ScanMaps, view: View, slices: Slices) -> Figure:
    magnitude = scan.magnitude[0]
    relative = magnitude / percentile(magnitude[view.box], 99.5)
    rows = all_slices(relative, slices)
    scale = Scale("relative to the 99.5th percentile", 0.0, 1.0, extend="max")
    title = f"Magnitude of the first echo, {_te(scan, 0)}"
    figure, (axes,) = draw_page(view, Panel(title, rows, scale))
    for mask, color in ((scan.brain_mask, _BRAIN_COLOR), (scan.eroded_mask, _ERODED_COLOR)):
        draw_contours(axes, view, showing(mask, rows), color)
    _legend(figure, {"brain mask": _BRAIN_COLOR, "where the map is valid": _ERODED_COLOR})
    return figure


def _total_field(scan: ScanMaps, view: View, slices: Slices) -> Figure:
    offset_ppm = percentile(masked(scan.total_field_ppm, scan.brain_mask), 50)
    offset_hz = ppm_to_hz(offset_ppm, scan.field_strength_t)
    title = f"Total field, less its median in the brain ({offset_hz:.1f} Hz)"
    centred = masked(scan.total_field_ppm - offset_ppm, scan.brain_mask)
    return _field(scan, view, slices, title, centred, TOTAL_FIELD_WINDOW_PPM)


def _local_field(scan: ScanMaps, view: View, slices: Slices) -> Figure:
    field = masked(scan.local_field_ppm, scan.eroded_mask)
    return _field(scan, view, slices, "Local field", field, LOCAL_FIELD_WINDOW_PPM)


def _unexplained(scan: ScanMaps, view: View, slices: Slices) -> Figure:
    maps = scan.chi_ppm, scan.local_field_ppm, scan.eroded
    left = unexplained_field_ppm(*maps, scan.voxel_size_mm, scan.b0_direction)
    title = "Local field less the field of the map"
    return _field(scan, view, slices, title, left, UNEXPLAINED_WINDOW_PPM)


def _field(
    scan: ScanMaps, view: View, slices: Slices, title: str, field_ppm: Volume, window_ppm: float
) -> Figure:
    window_hz = ppm_to_hz(window_ppm, scan.field_strength_t)
    label = f"Hz (±{window_ppm} ppm of B0)"
    scale = Scale(label, -window_hz, window_hz, "RdBu_r", "white", "both")
    return _map(title, ppm_to_hz(field_ppm, scan.field_strength_t), scale, view, slices)


def _r2star(scan: ScanMaps, view: View, slices: Slices) -> Figure:
    assert scan.r2star is not None
    scale = Scale("1/s", 0.0, R2STAR_LIMIT_PER_S, extend="max")
    return _map("R2*", masked(scan.r2star, scan.brain_mask), scale, view, slices)


def _quality(scan: ScanMaps, view: View, slices: Slices) -> Figure:
    scale = Scale("1 is best", 0.0, 1.0, "viridis", "white")
    return _map("Phase quality", masked(scan.quality, scan.brain_mask), scale, view, slices)


def _chi_sd(scan: ScanMaps, view: View, slices: Slices) -> Figure:
    assert scan.chi_sd is not None
    scale = Scale("ppm", 0.0, CHI_SD_LIMIT_PPM, "magma", extend="max")
    title = "Uncertainty of the susceptibility (standard deviation)"
    return _map(title, masked(scan.chi_sd, scan.eroded_mask), scale, view, slices)


def _phase(scan: ScanMaps, view: View, slices: Slices) -> Figure:
    assert scan.phase is not None
    assert scan.unwrapped is not None
    n_echoes, last_te_s = len(scan.echo_times_s), scan.echo_times_s[-1]
    wrapped: list[Row] = []
    unwrapped: list[Row] = []
    for echo in sorted({0, n_echoes // 2, n_echoes - 1}):
        at_last_te = scan.unwrapped[echo] * (last_te_s / scan.echo_times_s[echo])
        caption = f"echo {echo + 1} of {n_echoes}\n{_te(scan, echo)}"
        row = Row(scan.phase[echo], "axial", slices["axial"][1], caption, beside=bool(wrapped))
        wrapped.append(row)
        unwrapped.append(replace(row, volume=masked(at_last_te, scan.brain_mask)))
    window = np.pi * np.ceil(percentile(np.abs([row.volume for row in unwrapped]), 98) / np.pi)
    title = f"Unwrapped phase, scaled to TE = {last_te_s * 1e3:.4g} ms"
    figure, _ = draw_page(
        view,
        Panel("Phase as measured", wrapped, Scale("rad", -np.pi, np.pi)),
        Panel(title, unwrapped, Scale("rad", -window, window, "RdBu_r", "white", "both")),
    )
    return figure


def _fit(scan: ScanMaps, view: View, slices: Slices) -> Figure:
    assert scan.unwrapped is not None
    times, strength = scan.echo_times_s, scan.field_strength_t
    residual = fit_residual_rad(scan.unwrapped, scan.total_field_ppm, times, strength)
    scale = Scale("rad", 0.0, FIT_RESIDUAL_LIMIT_RAD, "magma", "white", "max")
    rows = few_slices(masked(residual, scan.brain_mask), slices)
    panels = [Panel("Phase that the field does not explain (RMS over echoes)", rows, scale)]
    if scan.field_sd_ppm is not None:
        sd_hz = masked(ppm_to_hz(scan.field_sd_ppm, strength), scan.brain_mask)
        scale = Scale("Hz", 0.0, 2.0, "magma", "white", "max")
        title = "Uncertainty of the field (standard deviation)"
        panels.append(Panel(title, few_slices(sd_hz, slices), scale))
    return draw_page(view, *panels)[0]


def _classical(scan: ScanMaps, view: View, slices: Slices) -> Figure:
    geometry: dict[str, Any] = {
        "voxel_size_mm": scan.voxel_size_mm,
        "b0_direction": scan.b0_direction,
    }
    field = np.nan_to_num(scan.local_field_ppm)
    classical = np.zeros_like(scan.chi_ppm)
    if scan.eroded.any():
        classical = invert(field, scan.eroded, method="tkd", device="cpu", **geometry)
    zero = scan.chi.mean() if scan.chi.size else 0.0  # that of thresholded division is its mean
    chi = scan.chi_ppm - zero
    scale = replace(_CHI_SCALE, low=-CHI_WINDOW_PPM / 2, high=CHI_WINDOW_PPM / 2, cmap="RdBu_r")
    panels = (
        ("This map", chi, _CHI_SCALE),
        ("Thresholded k-space division of the same field", classical, _CHI_SCALE),
        ("This map less the classical one", chi - classical, scale),
    )
    shown = [
        Panel(title, few_slices(masked(volume, scan.eroded_mask), slices), scale)
        for title, volume, scale in panels
    ]
    return draw_page(view, *shown)[0]


def _iterates(scan: ScanMaps, view: View, slices: Slices) -> Figure:
    assert scan.iterates is not None
    panels = []
    for number, (chi, weight) in enumerate(zip(scan.iterates, scan.lambdas, strict=True), start=1):
        inside = masked(chi, scan.eroded_mask)
        centred = inside - np.nanmean(inside) if scan.eroded.any() else inside
        title = f"After iteration {number} (λ = {weight:.2g})"
        panels.append(Panel(title, few_slices(centred, slices), _CHI_SCALE))
    return draw_page(view, *panels)[0]


def _histogram(scan: ScanMaps, _: View, __: Slices) -> Figure:
    values = masked(scan.chi_ppm, scan.eroded_mask)
    values = values[np.isfinite(values)]
    limits = (-HISTOGRAM_LIMIT_PPM, HISTOGRAM_LIMIT_PPM)
    figure = Figure(figsize=(11, 3.2), layout="constrained")
    axes = figure.add_subplot()
    axes.hist(values, bins=150, range=limits, color="#56799c", histtype="stepfilled")
    axes.axvline(0, color="0.2", linewidth=1)
    if len(values):
        beyond = np.mean(np.abs(values) > HISTOGRAM_LIMIT_PPM)
        mean = round(float(values.mean()), 4) + 0.0  # no negative zero
        note = f"mean {mean:+.4f} ppm\nSD {values.std():.4f} ppm\n{beyond:.2%} off the scale"
        axes.text(0.99, 0.95, note, transform=axes.transAxes, ha="right", va="top")
    axes.set(xlabel="magnetic susceptibility (ppm)", ylabel="voxels", xlim=limits)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _regions(scan: ScanMaps, view: View, _: Slices) -> Figure:
    assert scan.labels is not None
    rows = through_nuclei(scan.labels, view)
    combined = np.sqrt(np.mean(scan.magnitude**2, axis=0))
    relative = combined / percentile(combined[view.box], 99.5)
    chi = masked(scan.chi_ppm, scan.eroded_mask)
    figure, both_axes = draw_page(
        view,
        Panel("On the magnitude", showing(relative, rows), Scale("relative", 0.0, 1.0)),
        Panel("On the susceptibility", showing(chi, rows), _CHI_SCALE),
    )
    for outline in OUTLINES:
        inside = showing(np.isin(scan.labels, outline.labels), rows)
        for axes in both_axes:
            draw_contours(axes, view, inside, outline.colour)
    _legend(figure, {outline.name: outline.colour for outline in OUTLINES})
    return figure


def _legend(figure: Figure, colours: dict[str, str]) -> None:
    lines = [Line2D([], [], color=value, linewidth=2, label=key) for key, value in colours.items()]
    style = {"ncols": len(lines), "frameon": False, "handlelength": 1.0, "columnspacing": 1.0}
    figure.legend(handles=lines, loc="upper right", fontsize=10, **style)


def _te(scan: ScanMaps, echo: int) -> str:
    return f"TE = {scan.echo_times_s[echo] * 1e3:.4g} ms"


FIGURES = (
    ScanFigure(
        "desc-mosaic_Chimap.webp", MAPS, "Susceptibility", _chi,
        "Deep grey nuclei and veins should be bright, white matter darker than grey. Stripes that "
        "cross the coronal and sagittal slices are streaks; bright or dark bands along the rim "
        "are background field left over.",
    ),
    ScanFigure(
        "desc-masks_magnitude.webp", MAPS, "Magnitude and masks", _magnitude,
        "The orange line should follow the surface of the brain and leave out sinuses and skull. "
        "The map is valid inside the blue line.",
    ),
    ScanFigure(
        "desc-total_fieldmap.webp", MAPS, "Total field", _total_field,
        "Field of all sources. It should be smooth, and strong only above sinuses and ear canals.",
    ),
    ScanFigure(
        "desc-local_fieldmap.webp", MAPS, "Local field", _local_field,
        "Field of the sources inside the brain, sixteen times finer. Anatomy should show; broad "
        "shades at the rim are background field left over.",
    ),
    ScanFigure(
        "desc-unexplained_fieldmap.webp", MAPS, "Unexplained field", _unexplained,
        "Local field less the field that the map would make. Noise is right; anatomy or broad "
        "shades are what the inversion did not explain.",
    ),
    ScanFigure(
        "desc-report_R2starmap.webp", MAPS, "R2*", _r2star,
        "Decay of the signal. Iron-rich nuclei are bright here and in the susceptibility; bright "
        "rims beside air are field gradients.",
        needs=("r2star",),
    ),
    ScanFigure(
        "desc-sd_Chimap.webp", MAPS, "Uncertainty", _chi_sd,
        "By noise and by mirroring the volume. Structures in the map that are weaker than this are "
        "not to be trusted.",
        needs=("chi_sd",),
    ),
    ScanFigure(
        "desc-quality_phase.webp", MAPS, "Phase quality", _quality,
        "How well neighbours and echoes agree. Dark patches beside air are usual; dark tissue is "
        "not.",
    ),
    ScanFigure(
        "desc-regions_dseg.webp", "Regions", "Outlines of the regions", _regions,
        "Outlines should follow the anatomy in both images, and left and right be alike. White "
        "matter is what the cortex encloses. Beyond the edge of the map nothing is counted.",
        needs=("labels",),
    ),
    ScanFigure(
        "desc-classical_Chimap.webp", "Inversion", "Against a classical inversion", _classical,
        "Thresholded k-space division has no learned prior, but streaks. What only one of the two "
        "shows deserves a second look. Both have a mean of zero here.",
    ),
    ScanFigure(
        "desc-iterates_Chimap.webp", "Inversion", "Iterations of the network", _iterates,
        "Each iteration denoises the map and then fits it to the field; the larger λ, the more the "
        "network's own picture counts. Later maps should be cleaner, not different: a structure "
        "that only the last one shows is not in the data. All have a mean of zero here.",
        needs=("iterates",),
    ),
    ScanFigure(
        "desc-histogram_Chimap.svg", "Inversion", "Histogram of the susceptibility", _histogram,
        "Of all voxels where the map is valid.",
    ),
    ScanFigure(
        "desc-unwrapping_phase.webp", "Phase", "Phase before and after unwrapping", _phase,
        "Scaled to the last echo time all echoes should look alike; sharp edges that only one echo "
        "shows are wraps left over. The phase has lost its offset at echo time zero.",
        needs=("phase", "unwrapped"),
    ),
    ScanFigure(
        "desc-fit_phase.webp", "Phase", "Fit of the field to the phase", _fit,
        "Large values beside air and vessels are usual; large values in tissue are motion, wraps "
        "or wrong echo times.",
        needs=("unwrapped",),
    ),
)  # fmt: skip
