"""The figure of a template space: the scan under the outlines of the template."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.lines import Line2D
from skimage.filters import threshold_multiotsu

from isdu_bids.reports.figures import CHI_WINDOW_PPM
from isdu_bids.reports.mosaic import Row, View, Volume, to_ras
from isdu_bids.reports.page import Panel, Scale, draw_contours, draw_page, save_figure

_BRAIN_COLOR, _WHITE_MATTER_COLOR = "#e69f00", "#56b4e9"  # distinct to colour-blind eyes


def template_figure_path(folder: Path, scan_name: str, template: str) -> Path:
    """File of the figure; one template has one."""
    return folder / f"{scan_name}_space-{template}_desc-template_Chimap.webp"


def remove_other_figures(folder: Path, scan_name: str, templates: list[str]) -> None:
    """Remove figures of an earlier run's templates, which the report would show."""
    kept = {template_figure_path(folder, scan_name, template) for template in templates}
    for path in folder.glob(template_figure_path(Path(), scan_name, "*").name):
        if path not in kept:
            path.unlink(missing_ok=True)


def draw_template_figure(
    path: Path,
    space: str,
    *,
    template_t1w: Volume,
    template_brain: Volume,
    magnitude: Volume,
    chi_ppm: Volume,
    eroded_mask: Volume,
    affine: npt.ArrayLike,
) -> None:
    """Draw magnitude and susceptibility in template space under the template's outlines.

    Parameters
    ----------
    path
        WebP to write.
    space
        Name for the title.
    template_t1w, template_brain
        The template and its brain mask, ``(x, y, z)``.
    magnitude, chi_ppm, eroded_mask
        The scan on the same grid.
    affine
        Voxel to world of all of them.
    """
    volumes = (template_t1w, template_brain, magnitude, chi_ppm, eroded_mask)
    t1w, brain, magnitude, chi_ppm, valid = (to_ras(volume, affine)[0] for volume in volumes)
    ras_affine = to_ras(brain, affine)[1]
    view = View.around(brain, ras_affine)
    white_matter = brain & (t1w > threshold_multiotsu(t1w[brain], classes=3)[1])
    relative = magnitude / max(float(np.percentile(magnitude[brain], 99)), 1e-12)

    def rows(volume: Volume) -> list[Row]:
        axial, coronal = np.linspace(0.25, 0.75, 3), np.linspace(0.3, 0.7, 3)
        return [
            Row(volume, "axial", axial),
            Row(volume, "coronal", coronal),
        ]

    figure, both_axes = draw_page(
        view,
        Panel(f"Magnitude in {space}", rows(relative), Scale("", 0.0, 1.0)),
        Panel(
            "Susceptibility",
            rows(np.where(valid, chi_ppm, np.nan)),
            Scale("ppm", -CHI_WINDOW_PPM, CHI_WINDOW_PPM),
        ),
    )
    outlines = ((white_matter, _WHITE_MATTER_COLOR), (brain, _BRAIN_COLOR))
    for axes in both_axes:
        for mask, color in outlines:
            draw_contours(axes, view, rows(mask), color)
    lines = [Line2D([], [], color=color) for _, color in outlines]
    names = ["white matter of the template", "its brain mask"]
    figure.legend(lines, names, loc="upper right", ncols=2, frameon=False, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_figure(figure, path)
