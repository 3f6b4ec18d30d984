"""The report of one subject: ``sub-XX.html``, readable offline beside its ``figures`` folder.

nireports puts sections together; template, styles and every figure are our own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from isdu_bids.files import replacing, write_text
from isdu_bids.quality.record import ScanRecord
from isdu_bids.reports.figures import FIGURES
from isdu_bids.reports.methods_text import markdown_to_html, methods_text
from isdu_bids.reports.regions import regions_html
from isdu_bids.reports.summary import (
    about_html,
    errors_html,
    failures_html,
    measures_html,
    summary_html,
)

_DATA = Path(str(files("isdu_bids"))).absolute() / "data" / "reports"

#: Entities that name a scan, as nireports calls them.
_ENTITIES = {"ses": "session", "acq": "acquisition", "rec": "reconstruction", "run": "run"}


def write_subject_report(
    output_dir: Path,
    subject: str,
    *,
    scans: Sequence[ScanRecord],
    run_uuid: str,
    about: Mapping[str, Any],
    selection: str = "all scans that have magnitude, phase and the required metadata",
    failures: Mapping[str, str] | None = None,
    crash_files: Sequence[Path] = (),
) -> Path:
    """Write ``sub-XX.html`` into the root of the derivative dataset.

    Figures are those that `draw_figures` has left in ``sub-XX/figures``; one that is missing is
    left out. Text goes there too, as fragments of HTML.

    Parameters
    ----------
    output_dir
        Root of the derivative dataset.
    subject
        Label without ``sub-``.
    scans
        Processed scans in the order of the report.
    run_uuid
        Names the run's folder in ``sub-XX/log``.
    about
        Rows of the section *About*: command line, versions, date, container.
    selection
        Inclusion and exclusion criteria.
    failures
        Name of a scan without a map -> reason.
    crash_files
        Text files shown in full in the section *Errors*.
    """
    folder = output_dir / f"sub-{subject}" / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    fragments = {
        f"sub-{subject}_desc-methods_report": markdown_to_html(
            methods_text((scan.sentences for scan in scans), level=3).removeprefix("### Methods\n")
        ),
        f"sub-{subject}_desc-about_report": about_html(about),
        f"sub-{subject}_desc-failures_report": failures_html(failures or {}),
        f"sub-{subject}_desc-errors_report": errors_html(failures or {}, crash_files),
    }
    for scan in scans:
        fragments[f"{scan.name}_desc-summary_scan"] = summary_html(scan, selection)
        fragments[f"{scan.name}_desc-regions_scan"] = regions_html(scan.regions)
        fragments[f"{scan.name}_desc-measures_scan"] = measures_html(scan)
    for name, fragment in fragments.items():
        write_text(folder / f"{name}.html", fragment)

    bootstrap = output_dir / f"sub-{subject}" / "log" / run_uuid / "report.yml"
    outline = yaml.safe_load((_DATA / "subject.yml").read_text(encoding="utf-8"))
    specification = {
        "title": f"isdu-bids: sub-{subject}",
        "template_path": str(_DATA / "subject.html.j2"),
        "sections": [_section(section, subject, scans) for section in outline],
    }
    write_text(bootstrap, yaml.safe_dump(specification, sort_keys=False))
    return _assemble(output_dir, subject, run_uuid, bootstrap)


def _section(
    section: Mapping[str, Any], subject: str, scans: Sequence[ScanRecord]
) -> dict[str, Any]:
    """One section for nireports; several scans are told apart by headings."""
    shown = [_reportlet(item, f"sub-{subject}") for item in section.get("subject", ())]
    figures = [
        {"figure": f"{figure.name}.png", "caption": figure.caption}
        for figure in FIGURES
        if figure.section == section["name"]
    ]
    for scan in scans:
        items = [*section.get("scan", ()), *figures]
        reportlets = [_reportlet(item, scan.name) for item in items]
        if len(scans) > 1 and reportlets:
            reportlets[0]["title"] = " ".join(scan.name.split("_")[1:]) or scan.name
        shown += reportlets
    return {"name": section["name"], "reportlets": shown}


def _reportlet(item: Mapping[str, str], scan_name: str) -> dict[str, Any]:
    """Query that one file only can answer: entities that the scan lacks must be absent."""
    labels = dict(pair.split("-", 1) for pair in scan_name.split("_"))
    description, _, file_end = item["figure"].partition("_")
    suffix, _, extension = file_end.partition(".")
    query = {name: labels.get(key) for key, name in _ENTITIES.items()}
    query |= {"datatype": "figures", "desc": description.removeprefix("desc-")}
    query |= {"suffix": suffix, "extension": f".{extension}"}
    anchor = f"{scan_name}_{description}_{suffix}"
    caption = {"caption": item["caption"]} if item.get("caption") else {}
    return {"name": anchor, "bids": query, **caption}


def _assemble(output_dir: Path, subject: str, run_uuid: str, bootstrap: Path) -> Path:
    from bids import config
    from nireports.assembler.report import Report

    # nireports' own patterns also match folders: an output below "ses-1/" or "anat/" would lose all
    # of its figures. Ours look at file names only.
    config.get_option("config_paths")["figures"] = str(_DATA / "figures.json")
    page = output_dir / f"sub-{subject}.html"
    with replacing(page) as unfinished:
        report = Report(
            output_dir,
            run_uuid,
            bootstrap_file=bootstrap,
            out_filename=str(unfinished),
            reportlets_dir=output_dir / f"sub-{subject}",
            subject=subject,
        )
        report.generate_report()
    return page
