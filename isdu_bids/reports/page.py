"""A page of mosaics with colour bars: the drawing primitive of all figures of a scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from PIL import Image

from isdu_bids.files import replacing
from isdu_bids.reports.mosaic import PLANES, Extent, Row, View

#: 1400 pixels: one of a head's 2 mm voxels is five of them wide.
_WIDTH_IN, _DPI = 14.0, 100
_QUALITY = 88
_TITLE_IN, _MARGIN_IN, _BAR_IN = 0.45, 0.1, 1.15


@dataclass(frozen=True)
class Scale:
    """How values become colours: ``blank`` where there is none; ``extend``: some are beyond."""

    label: str
    low: float
    high: float
    cmap: str | Colormap = "gray"
    blank: str = "black"
    extend: Literal["neither", "both", "max"] = "neither"


@dataclass(frozen=True)
class Panel:
    """One mosaic with its title and colour bar."""

    title: str
    rows: Sequence[Row]
    scale: Scale


def draw_page(view: View, *panels: Panel) -> tuple[Figure, list[Axes]]:
    """Draw panels below each other at one scale; their shapes decide the height of the page."""
    canvases = [view.canvas_mm(panel.rows) for panel in panels]
    widest_mm = max(width for width, _ in canvases)
    in_per_mm = (_WIDTH_IN - 2 * _MARGIN_IN - _BAR_IN) / widest_mm
    page_in = sum(_TITLE_IN + height * in_per_mm + _MARGIN_IN for _, height in canvases)
    figure = Figure(figsize=(_WIDTH_IN, page_in))

    def inches(left: float, bottom: float, width: float, height: float) -> Axes:
        box = (left / _WIDTH_IN, bottom / page_in, width / _WIDTH_IN, height / page_in)
        return figure.add_axes(box)

    all_axes = []
    bottom = page_in
    for panel, (width_mm, height_mm) in zip(panels, canvases, strict=True):
        width, height = width_mm * in_per_mm, height_mm * in_per_mm
        bottom -= _TITLE_IN + height
        axes = inches(_MARGIN_IN + (widest_mm * in_per_mm - width) / 2, bottom, width, height)
        image = draw_mosaic(axes, view, panel.rows, panel.scale)
        figure.text(
            _MARGIN_IN / _WIDTH_IN, (bottom + height + 0.1) / page_in, panel.title, fontsize=13
        )
        bar_in = min(3.0, 0.9 * height)
        left = _WIDTH_IN - _BAR_IN
        bar_axes = inches(left, bottom + (height - bar_in) / 2, 0.15, bar_in)
        bar = figure.colorbar(image, cax=bar_axes, extend=panel.scale.extend)
        bar.set_label(panel.scale.label, fontsize=11)
        bar.ax.tick_params(labelsize=11)
        bar.outline.set_linewidth(0.5)
        bottom -= _MARGIN_IN
        all_axes.append(axes)
    return figure, all_axes


def draw_mosaic(
    axes: Axes, view: View, rows: Sequence[Row], scale: Scale, alpha: float = 1.0
) -> AxesImage:
    """Draw rows of slices; each tells the patient's sides and where it lies."""
    width, height = view.canvas_mm(rows)
    axes.set_axis_off()
    for row, extent in view.places(rows):
        left, right, bottom, top = extent
        size = right - left, top - bottom
        axes.add_patch(Rectangle((left, bottom), *size, color=scale.blank, zorder=-1))
        image = axes.imshow(
            np.ma.masked_invalid(view.picture(row)),
            cmap=scale.cmap,
            vmin=scale.low,
            vmax=scale.high,
            extent=extent,
            origin="lower",
            interpolation="nearest",  # voxels as they are: no blending of labels or wraps
            alpha=alpha,
        )
        _label(axes, view, row, extent, "black" if scale.blank == "black" else "white")
    axes.set(xlim=(0, width), ylim=(-height, 0), aspect="equal")
    return image


def _label(axes: Axes, view: View, row: Row, extent: Extent, halo: str) -> None:
    """Name sides and position of every slice."""
    axis, left_name, right_name = PLANES[row.plane]
    left, _, bottom, top = extent
    width, _ = view.size_mm(row.plane)
    outline = [withStroke(linewidth=3, foreground=halo)]
    ink = "white" if halo == "black" else "0.15"
    style: dict[str, Any] = {"color": ink, "fontsize": 11, "path_effects": outline}
    for i, fraction in enumerate(np.ravel(row.fractions)):
        start = left + i * width
        place = f"{'xyz'[axis]} = {view.position_mm(row.plane, fraction):+.0f} mm"
        axes.text(start + 2, (bottom + top) / 2, left_name, ha="left", va="center", **style)
        axes.text(
            start + width - 2, (bottom + top) / 2, right_name, ha="right", va="center", **style
        )
        axes.text(start + width / 2, bottom + 2, place, ha="center", va="bottom", **style)
    axes.text(left + 2, top - 2, row.caption, va="top", **style)


def draw_contours(axes: Axes, view: View, rows: Sequence[Row], color: str) -> None:
    """Outline masks on a mosaic of the same layout; rows without an edge stay bare."""
    for row, (left, right, bottom, top) in view.places(rows):
        picture = view.picture(replace(row, volume=row.volume.astype(float)))
        if picture.min() == picture.max():
            continue
        n_up, n_across = picture.shape
        x = left + (np.arange(n_across) + 0.5) * (right - left) / n_across
        y = bottom + (np.arange(n_up) + 0.5) * (top - bottom) / n_up
        axes.contour(x, y, picture, levels=[0.5], colors=[color], linewidths=0.8)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a vector graphic or a WebP picture, by the extension, whole or not at all."""
    with replacing(path) as partial:
        if path.suffix == ".svg":
            with rc_context({"svg.hashsalt": "isdu-bids", "svg.fonttype": "none"}):
                figure.savefig(partial, metadata={"Date": None})
            return
        figure.set_dpi(_DPI)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        size = canvas.get_width_height()
        picture = Image.frombuffer("RGBA", size, canvas.buffer_rgba(), "raw", "RGBA", 0, 1)
        picture.convert("RGB").save(partial, quality=_QUALITY, method=2)
