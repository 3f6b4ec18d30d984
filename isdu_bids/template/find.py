"""Images of a template: from TemplateFlow's folder as it lies there, else through TemplateFlow.

TemplateFlow is imported only to download: its import alone fills its folder with thousands of
empty files, and it needs seconds to index them.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from isdu_bids.errors import UsageError
from isdu_bids.template.spaces import OutputSpace

_ARCHIVE = "https://templateflow.s3.amazonaws.com"
_REMEDY = 'run: pip install "isdu-bids[template]"'


@dataclass(frozen=True)
class TemplateImages:
    """T1-weighted image of a template and its brain mask, on one grid."""

    t1w: Path
    mask: Path


@dataclass(frozen=True)
class Template:
    """What a scan is registered to, and the grid that its maps are written on.

    Attributes
    ----------
    space
        Its name and resolution.
    fixed
        At resolution 1: the registration does not depend on the grid of the output.
    grid
        At the resolution of the output.
    """

    space: OutputSpace
    fixed: TemplateImages
    grid: TemplateImages

    @property
    def reference(self) -> str:
        """Address of the image that the maps are aligned to, for ``SpatialReference``."""
        return f"{_ARCHIVE}/{self.grid.t1w.parent.name}/{self.grid.t1w.name}"


def find_templates(
    spaces: Sequence[OutputSpace], cache: Path
) -> tuple[list[Template], dict[str, str]]:
    """Find the images of all spaces before hours of work, or say in one line what is missing.

    Parameters
    ----------
    spaces
        The template spaces asked for.
    cache
        Where to download if there is neither ``TEMPLATEFLOW_HOME`` nor TemplateFlow's own folder.

    Returns
    -------
    templates
        Those that can be used.
    unusable
        Name of each other space -> reason and remedy.
    """
    templates, unusable = [], {}
    for space in spaces:
        try:
            if find_spec("ants") is None:
                raise UsageError(f"registration needs antspyx, which is not installed; {_REMEDY}")
            templates.append(find_template(space, templateflow_home(cache)))
        except UsageError as error:
            unusable[str(space)] = str(error)
    return templates, unusable


def templateflow_home(cache: Path) -> Path:
    """``TEMPLATEFLOW_HOME``, else TemplateFlow's usual folder if it exists, else ``cache``."""
    if named := os.environ.get("TEMPLATEFLOW_HOME"):
        return Path(named)
    usual = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "templateflow"
    return usual if usual.is_dir() else cache


def find_template(space: OutputSpace, home: Path) -> Template:
    """Images of a template in a TemplateFlow folder, downloaded if they are not there.

    Raises
    ------
    UsageError
        If they are not there and cannot be downloaded.
    """
    resolutions = (1, space.resolution or 1)
    fixed, grid = (
        _images(home, space.template, resolution) or _download(home, space.template, resolution)
        for resolution in resolutions
    )
    return Template(space, fixed, grid)


def _images(home: Path, template: str, resolution: int) -> TemplateImages | None:
    for number in (f"{resolution:02d}", str(resolution)):  # TemplateFlow writes both
        stem = home / f"tpl-{template}" / f"tpl-{template}_res-{number}"
        t1w, mask = (Path(f"{stem}_{end}.nii.gz") for end in ("T1w", "desc-brain_mask"))
        # an empty file stands for one that has not been downloaded
        if all(path.is_file() and path.stat().st_size for path in (t1w, mask)):
            return TemplateImages(t1w, mask)
    return None


def _download(home: Path, template: str, resolution: int) -> TemplateImages:
    """Let TemplateFlow fetch the images of one resolution, with its own time limits."""
    os.environ["TEMPLATEFLOW_HOME"] = str(home)  # read once, when it is imported
    wanted = {"resolution": resolution, "extension": ".nii.gz", "raise_empty": True}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it makes its folder
            from templateflow import api

            api.get(template, suffix="T1w", desc=None, **wanted)
            api.get(template, suffix="mask", desc="brain", **wanted)
    except Exception as error:  # whatever a download and an index of files may raise
        reason = " ".join(str(error).split()) or type(error).__name__
    else:
        if images := _images(home, template, resolution):
            return images
        reason = "not under the usual names"
    raise UsageError(
        f"T1-weighted image and brain mask of {template}, res-{resolution}, are not in {home} and "
        "cannot be downloaded; fetch them where there is a network and set TEMPLATEFLOW_HOME "
        f"(docs/templates.md; {reason})"
    )
