"""The report of one subject: ``sub-XX.html``, readable offline beside its ``figures`` folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from isdu_bids.bids.layout import report_path
from isdu_bids.files import write_text
from isdu_bids.quality.flags import Flag, worst_first
from isdu_bids.quality.record import ScanRecord
from isdu_bids.reports.figures import FIGURES, MAPS, ScanFigure
from isdu_bids.reports.methods_text import markdown_to_html, methods_text
from isdu_bids.reports.regions import RegionRow, expected_note, region_rows, strip_place
from isdu_bids.reports.summary import (
    MeasureRow,
    Rows,
    Verdict,
    acquisition_rows,
    measure_rows,
    processing_rows,
    reporting_rows,
    verdict,
)
from isdu_bids.reports.viewer import viewer_path

#: Of the regions' table, what a reader wants to know at once.
_FIRST = ("Pallidum", "Putamen", "Caudate")
_TEMPLATE_CAPTION = (
    "The scan after registration, under the outlines of the template. Both should follow the "
    "anatomy; the map ends where it is valid, inside the brain mask."
)


@dataclass(frozen=True)
class Shown:
    """A figure that there is: where, and what to say of it."""

    section: str
    title: str
    source: str
    caption: str


@dataclass(frozen=True)
class ScanSection:
    """What the page shows of one scan."""

    anchor: str
    title: str
    verdict: Verdict
    flags: Sequence[Flag]
    older: str
    maps: Sequence[Shown]
    figures: Sequence[Shown]
    viewer: str
    first_regions: Sequence[RegionRow]
    regions: Sequence[RegionRow]
    measures: Sequence[MeasureRow]
    acquisition: Rows
    processing: Rows
    reporting: Rows
    provenance: Rows


def write_subject_report(
    output_dir: Path,
    subject: str,
    *,
    scans: Sequence[ScanRecord],
    selection: str = "all scans that have magnitude, phase and the required metadata",
    failures: Mapping[str, str] | None = None,
    crash_files: Sequence[Path] = (),
) -> Path:
    """Write ``sub-XX.html`` into the root of the derivative dataset.

    Figures are those that `draw_figures` has left in ``sub-XX/figures``; one that is missing is
    left out.

    Parameters
    ----------
    output_dir
        Root of the derivative dataset.
    subject
        Label without ``sub-``.
    scans
        Processed scans in the order of the report.
    selection
        Inclusion and exclusion criteria.
    failures
        Name of a scan whose last run failed -> reason; it may have older maps.
    crash_files
        Text files shown in full in the section *Errors*.
    """
    failed = failures or {}
    folder = output_dir / f"sub-{subject}" / "figures"
    sections = [_scan(output_dir, folder, scan, selection, failed.get(scan.name)) for scan in scans]
    methods = methods_text((scan.sentences for scan in scans), level=3)
    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    template = files("isdu_bids") / "data" / "reports" / "subject.html.j2"
    page = environment.from_string(template.read_text(encoding="utf-8")).render(
        title=f"sub-{subject}: quantitative susceptibility mapping",
        scans=sections,
        failures=failed,
        methods=Markup(markdown_to_html(methods.removeprefix("### Methods\n"))) if scans else "",
        crashes=[(path.name, path.read_text("utf-8", "replace")) for path in crash_files],
        zero=strip_place(0.0),
        expected_note=expected_note(),
    )
    return write_text(report_path(output_dir, subject), page)


def _scan(
    output_dir: Path, folder: Path, scan: ScanRecord, selection: str, failure: str | None
) -> ScanSection:
    figures = [shown for figure in FIGURES if (shown := _shown(output_dir, folder, scan, figure))]
    for path in sorted(folder.glob(f"{scan.name}_space-*_desc-template_Chimap.webp")):
        source = path.relative_to(output_dir).as_posix()
        figures.append(Shown("Template space", "In template space", source, _TEMPLATE_CAPTION))
    viewer = viewer_path(folder, scan.name)
    regions = region_rows(scan.regions)
    return ScanSection(
        anchor=scan.name,
        title=" ".join(scan.name.split("_")[1:]) or scan.name,
        verdict=verdict(scan.flags),
        flags=worst_first(scan.flags),
        older=_older(scan, failure) if failure else "",
        maps=[figure for figure in figures if figure.section == MAPS],
        figures=[figure for figure in figures if figure.section != MAPS],
        viewer=viewer.relative_to(output_dir).as_posix() if viewer.exists() else "",
        first_regions=[row for row in regions if row.name in _FIRST],
        regions=regions,
        measures=measure_rows(scan.measures),
        acquisition=acquisition_rows(scan),
        processing=processing_rows(scan),
        reporting=reporting_rows(scan, selection),
        provenance=list(scan.provenance.items()),
    )


def _older(scan: ScanRecord, failure: str) -> str:
    date = scan.provenance.get("Date", "an earlier run")
    return f"The last run of this scan failed ({failure}). What is shown here is from {date}."


def _shown(output_dir: Path, folder: Path, scan: ScanRecord, figure: ScanFigure) -> Shown | None:
    path = folder / f"{scan.name}_{figure.name}"
    if not path.exists():
        return None
    source = path.relative_to(output_dir).as_posix()
    return Shown(figure.section, figure.title, source, figure.caption)
