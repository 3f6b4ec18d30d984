"""Figures of maps against the truth, and of an unrolled network at work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import ndimage

from isdu_bids.evaluation.metrics import Volume, pearson_r, slope
from isdu_bids.files import replacing

_PANEL_IN = 3.6
_MAX_COLUMNS = 3
_DPI = 110


def voxel_figure(pairs: Mapping[str, Volume]) -> Figure:
    """Draw the density of voxels, truth against map, in a panel per method.

    Parameters
    ----------
    pairs
        Method -> map and truth in ppm, shape ``(2, n)``.
    """
    limits = _limits(*(np.percentile(pair, (0.02, 99.98)) for pair in pairs.values()))
    figure, panels = _panels(len(pairs))
    for axes, (method, (estimate, truth)) in zip(panels, pairs.items(), strict=True):
        extent = (*limits, *limits)
        axes.hexbin(
            truth, estimate, gridsize=90, extent=extent, bins="log", mincnt=1, cmap="viridis"
        )
        _describe(axes, method, estimate, truth, limits)
    figure.supxlabel("true susceptibility (ppm)", fontsize=10)
    figure.supylabel("map (ppm)", fontsize=10)
    return figure


def region_figure(regions: pd.DataFrame) -> Figure:
    """Draw regional means, truth against map, in a panel per method.

    Parameters
    ----------
    regions
        Rows of `region_table` with a column ``method``; equal regions have equal colours.
    """
    limits = _limits(regions["mean_ppm"], regions["truth_mean_ppm"])
    colors = {name: f"C{i % 10}" for i, name in enumerate(regions["name"].unique())}
    markers = {name: "os^Dv"[i // 10 % 5] for i, name in enumerate(colors)}
    methods = regions.groupby("method", sort=False)
    figure, panels = _panels(len(methods))
    for axes, (method, rows) in zip(panels, methods, strict=True):
        for name, region in rows.groupby("name", sort=False):
            axes.plot(
                region["truth_mean_ppm"],
                region["mean_ppm"],
                markers[str(name)],
                color=colors[str(name)],
                markersize=4,
                alpha=0.8,
                label=str(name),
            )
        means, true_means = (rows[key].to_numpy() for key in ("mean_ppm", "truth_mean_ppm"))
        _describe(axes, str(method), means, true_means, limits)
    figure.supxlabel("true mean of the region (ppm)", fontsize=10)
    figure.supylabel("mean of the map (ppm)", fontsize=10)
    handles, names = panels[0].get_legend_handles_labels()
    columns = 1 + len(names) // 40
    figure.legend(
        handles, names, loc="outside right upper", fontsize=7, ncols=columns, frameon=False
    )
    return figure


def iterate_figure(
    denoised_ppm: Volume,
    consistent_ppm: Volume,
    mask: Volume,
    *,
    voxel_size_mm: Sequence[float] = (1.0, 1.0, 1.0),
    window_ppm: float = 0.1,
    difference_window_ppm: float = 0.03,
) -> Figure:
    """Draw what each iteration of an unrolled network does, in three planes through the mask.

    A row per iteration k: the denoiser's proposal z_k, the data-consistent chi_k, and what the data
    changed, chi_k - z_k, with its root mean square.

    Parameters
    ----------
    denoised_ppm, consistent_ppm
        z_k and chi_k of all iterations, shape ``(K, x, y, z)``, axes right, anterior, superior.
    mask
        Where they are shown, ``(x, y, z)``.
    voxel_size_mm
        Edge lengths, for the aspect.
    window_ppm, difference_window_ppm
        Largest absolute value of the grey scales.
    """
    inside = np.asarray(mask > 0)
    (box,) = ndimage.find_objects(inside.astype(np.int8))
    z, chi = (
        np.where(inside, volume, np.nan)[(slice(None), *box)]
        for volume in (denoised_ppm, consistent_ppm)
    )
    sizes = np.array(chi.shape[1:]) * voxel_size_mm
    tiles = [(sizes[0], sizes[1]), (sizes[0], sizes[2]), (sizes[1], sizes[2])]  # width, height (mm)
    stages = (
        ("proposal z", z, window_ppm, "gray"),
        ("data-consistent χ", chi, window_ppm, "gray"),
        ("χ - z", chi - z, difference_window_ppm, "RdBu_r"),
    )
    widths = [width for _ in stages for width, _ in tiles]
    height = max(height for _, height in tiles)
    width_in = 13.0
    figure = Figure(
        figsize=(width_in, 0.9 + len(chi) * (width_in - 0.8) * height / sum(widths)),
        layout="constrained",
    )
    grid = figure.subplots(len(chi), len(widths), squeeze=False, width_ratios=widths)
    for s, (title, volumes, window, cmap) in enumerate(stages):
        columns = grid[:, 3 * s : 3 * s + 3]
        for k, volume in enumerate(volumes):
            for axes, picture, (w, h) in zip(
                columns[k], _middle_slices(volume), tiles, strict=True
            ):
                image = axes.imshow(
                    picture.T, cmap=cmap, vmin=-window, vmax=window, origin="lower",
                    extent=(0, w, 0, h),
                )  # fmt: skip
                axes.set_facecolor("black" if cmap == "gray" else "white")
                axes.set(xticks=[], yticks=[])
                axes.spines[:].set_visible(False)
        columns[0, 0].set_title(title, loc="left", fontsize=11)
        figure.colorbar(
            image, ax=columns.ravel().tolist(), location="bottom", label="ppm", aspect=40,
            shrink=0.6,
        )  # fmt: skip
    for k, change in enumerate(chi - z):
        grid[k, 0].set_ylabel(f"k = {k + 1}", fontsize=11)
        rms = np.sqrt(np.nanmean(change**2))
        grid[k, 6].set_ylabel(f"RMS {rms:.4f} ppm", fontsize=9)
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure; the suffix decides the format."""
    with replacing(path) as partial:
        figure.savefig(partial, dpi=_DPI)


def _middle_slices(volume: Volume) -> tuple[Volume, Volume, Volume]:
    """Axial, coronal and sagittal slice through the middle."""
    x, y, z = (n // 2 for n in volume.shape)
    return volume[:, :, z], volume[:, y, :], volume[x]


def _panels(n: int) -> tuple[Figure, list[Axes]]:
    columns = min(n, _MAX_COLUMNS)
    rows = -(-n // columns)
    figure = Figure(
        figsize=(0.6 + _PANEL_IN * columns, 0.5 + _PANEL_IN * rows), layout="compressed"
    )
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for unused in axes[n:]:
        unused.set_visible(False)
    return figure, list(axes[:n])


def _limits(*values: npt.ArrayLike) -> tuple[float, float]:
    """Choose common axis limits with a little room around all values."""
    low, high = min(map(np.min, values)), max(map(np.max, values))
    room = 0.06 * (high - low) or 0.01
    return float(low - room), float(high + room)


def _describe(
    axes: Axes, title: str, estimate: Volume, truth: Volume, limits: tuple[float, float]
) -> None:
    """Identity line, regression line, and their numbers."""
    every = np.ones(len(truth), bool)
    ends = np.array(limits)
    axes.plot(ends, ends, color="0.6", linewidth=0.8, zorder=0.5)
    bias = float(np.mean(estimate - truth))
    note = f"bias {bias:+.4f} ppm"
    if np.ptp(truth) > 0:
        fit = slope(estimate, truth, every)
        line = estimate.mean() + fit * (ends - truth.mean())
        axes.plot(ends, line, color="#d55e00", linewidth=1.2)
        note = f"r {pearson_r(estimate, truth, every):.3f}\nslope {fit:.3f}\n{note}"
    axes.text(0.03, 0.97, note, transform=axes.transAxes, ha="left", va="top", fontsize=8)
    axes.set(xlim=ends, ylim=ends, aspect="equal")
    axes.set_title(title, loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
