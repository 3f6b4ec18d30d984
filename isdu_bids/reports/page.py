"""A page of mosaics with colour bars: the drawing primitive of all figures of a scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patheffects import withStroke
from PIL import Image

from isdu_bids.files import replacing
from isdu_bids.reports.mosaic import PLANES, Row, View

_WIDTH_IN = 11.0
_DPI = 100
_MAX_BYTES = 700_000
_TITLE_IN, _MARGIN_IN, _BAR_IN = 0.4, 0.1, 1.05


@dataclass(frozen=True)
class Scale:
    """How values become colours; ``blank`` paints what is not finite."""

    label: str
    low: float
    high: float
    cmap: str | Colormap = "gray"
    blank: str = "black"


@dataclass(frozen=True)
class Panel:
    """One mosaic with its title and colour bar."""

    title: str
    rows: Sequence[Row]
    scale: Scale


def draw_page(view: View, *panels: Panel) -> tuple[Figure, list[Axes]]:
    """Draw panels side by side; the mosaics' shape decides the height of the page."""
    panel_in = _WIDTH_IN / len(panels)
    mosaic_in = panel_in - _MARGIN_IN - _BAR_IN
    canvases = [view.canvas_mm(panel.rows) for panel in panels]
    mosaic_height_in = max(mosaic_in * height / width for width, height in canvases)
    page_in = _TITLE_IN + mosaic_height_in + _MARGIN_IN
    figure = Figure(figsize=(_WIDTH_IN, page_in))

    def inches(left: float, bottom: float, width: float, height: float) -> Axes:
        box = (left / _WIDTH_IN, bottom / page_in, width / _WIDTH_IN, height / page_in)
        return figure.add_axes(box)

    all_axes = []
    for i, panel in enumerate(panels):
        left = i * panel_in + _MARGIN_IN
        axes = inches(left, _MARGIN_IN, mosaic_in, mosaic_height_in)
        image = draw_mosaic(axes, view, panel.rows, panel.scale)
        axes.set_title(panel.title, loc="left", fontsize=11)
        bar_height_in = min(2.5, mosaic_height_in)
        bottom = _MARGIN_IN + (mosaic_height_in - bar_height_in) / 2
        bar_axes = inches(left + mosaic_in + 0.12, bottom, 0.12, bar_height_in)
        bar = figure.colorbar(image, cax=bar_axes)
        bar.set_label(panel.scale.label, fontsize=9)
        bar.ax.tick_params(labelsize=9)
        bar.outline.set_visible(False)
        all_axes.append(axes)
    return figure, all_axes


def draw_mosaic(
    axes: Axes, view: View, rows: Sequence[Row], scale: Scale, alpha: float = 1.0
) -> AxesImage:
    """Draw rows of slices below each other, with the patient's sides named on each first slice."""
    width, height = view.canvas_mm(rows)
    axes.set_facecolor(scale.blank)
    axes.spines[:].set_visible(False)
    ink, halo = ("white", "black") if scale.blank == "black" else ("0.25", "white")
    for row, extent in view.places(rows):
        image = axes.imshow(
            np.ma.masked_invalid(view.picture(row)),
            cmap=scale.cmap,
            vmin=scale.low,
            vmax=scale.high,
            extent=extent,
            origin="lower",
            interpolation_stage="rgba",  # blends colours, not labels or wrapped values
            alpha=alpha,
        )
        _, left_name, right_name = PLANES[row.plane]
        left, _, bottom, top = extent
        tile_width, _ = view.size_mm(row.plane)
        outline = [withStroke(linewidth=2.5, foreground=halo)]
        style: dict[str, Any] = {"color": ink, "fontsize": 9, "path_effects": outline}
        axes.text(left + 2, bottom + 2, left_name, ha="left", va="bottom", **style)
        axes.text(left + tile_width - 2, bottom + 2, right_name, ha="right", va="bottom", **style)
        axes.text(left + 2, top - 2, row.caption, va="top", **style)
    axes.set(xlim=(0, width), ylim=(-height, 0), aspect="equal", xticks=[], yticks=[])
    return image


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
    """Write a PNG without transparency: grey if it is grey, in 256 colours if it is large."""
    figure.set_dpi(_DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    is_grey = bool((pixels == pixels[..., :1]).all())
    picture = Image.fromarray(pixels[..., 0] if is_grey else pixels)
    with replacing(path) as partial:
        picture.save(partial)
        if partial.stat().st_size > _MAX_BYTES:
            # k-means (to 1000 pixels that change): else greys take all colours, thin lines lose
            # theirs
            picture.quantize(256, kmeans=1000).save(partial)
