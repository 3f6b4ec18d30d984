"""What the report says of a scan in words and numbers, as fragments of HTML."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from math import isfinite
from pathlib import Path
from typing import Any

from isdu_bids import __version__
from isdu_bids.geometry import obliquity_deg
from isdu_bids.quality.record import ScanRecord

#: Facts by the name that processing gives them, and what the report calls them. Others follow.
_FACTS = {
    "phase_scaling": "Phase scale and sign",
    "mask": "Brain mask",
    "unwrapping": "Phase unwrapping",
    "combination": "Echo combination",
    "background": "Background field removal",
    "background_device": "Background field removal, device",
    "inversion": "Dipole inversion",
    "inversion_device": "Dipole inversion, device",
    "weights": "Network weights",
    "weights_sha256": "Network weights, SHA-256",
    "weights_description": "Network weights, description",
}
_REFERENCE_FACTS = ("reference", "reference_mean_ppm", "reference_sd_ppm", "reference_n_voxels")


def summary_html(scan: ScanRecord, selection: str) -> str:
    """Tell flags, acquisition, processing, and what the consensus makes mandatory to report.

    References
    ----------
    QSM Consensus Organization Committee 2024, Table 5, doi:10.1002/mrm.30006.
    """
    facts = {
        name: value
        for name, value in scan.facts.items()
        if not (name.endswith("_reference") and isinstance(value, str))  # cited under Methods
    }
    reference = [facts.pop(name, None) for name in _REFERENCE_FACTS]
    processing = {label: facts.pop(name) for name, label in _labelled(facts)}
    processing |= {name.replace("_", " ").capitalize(): value for name, value in facts.items()}
    return "\n".join(
        [
            flags_html(scan.flags),
            "<h3>Acquisition</h3>",
            table_html(_acquisition(scan).items()),
            "<h3>Processing</h3>",
            table_html(processing.items()),
            '<h3>Mandatory reporting (<a href="https://doi.org/10.1002/mrm.30006">ISMRM consensus'
            "</a>, Table 5)</h3>",
            table_html(_mandatory(scan, reference, selection).items()),
        ]
    )


def measures_html(scan: ScanRecord) -> str:
    """List flags and all measures of a scan."""
    return flags_html(scan.flags) + table_html(scan.measures.items(), "measures")


def about_html(about: Mapping[str, Any]) -> str:
    """Versions, command line and the like."""
    return table_html({"isdu-bids": __version__, **about}.items())


def failures_html(failures: Mapping[str, str], good: str = "") -> str:
    """List scans without a map, each with its reason."""
    flags = [("failed", "error", f"{name}: {reason}") for name, reason in failures.items()]
    return flags_html(flags, good)


def errors_html(failures: Mapping[str, str], crash_files: Iterable[Path]) -> str:
    """List failures, and the crash files in full."""
    crashes = [
        f"<details><summary>{escape(path.name)}</summary>"
        f"<pre>{escape(path.read_text(encoding='utf-8', errors='replace'))}</pre></details>"
        for path in crash_files
    ]
    return "\n".join([failures_html(failures, "All steps have run."), *crashes])


def table_html(rows: Iterable[tuple[str, Any]], css_class: str = "") -> str:
    """Two columns, name and value."""
    cells = (f"<tr><th>{escape(name)}</th><td>{escape(plain(v))}</td></tr>" for name, v in rows)
    return f'<table class="{css_class}">\n' + "\n".join(cells) + "\n</table>"


def flags_html(flags: Sequence[tuple[str, str, str]], good: str = "No remarks.") -> str:
    """List of remarks by severity, or else one line of good news, if there is any."""
    items = [
        f'<li class="{escape(severity)}"><b>{escape(severity)}</b> {escape(message)}</li>'
        for _, severity, message in flags
    ]
    if good and not items:
        items = [f'<li class="good">{escape(good)}</li>']
    return '<ul class="flags">\n' + "\n".join(items) + "\n</ul>" if items else ""


def plain(value: Any) -> str:
    """Show a value to a reader.

    Examples
    --------
    >>> plain([1.0, 0.123456]), plain(float("nan")), plain(True), plain(None)
    ('1, 0.1235', 'n/a', 'yes', 'n/a')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or (isinstance(value, float) and not isfinite(value)):
        return "n/a"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} = {plain(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(plain(item) for item in value)
    return str(value)


def _labelled(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name, label) for name, label in _FACTS.items() if name in facts]


def _acquisition(scan: ScanRecord) -> dict[str, str]:
    echo_times = ", ".join(f"{1e3 * te:.4g}" for te in scan.echo_times_s)
    direction = ", ".join(f"{component:.4f}" for component in scan.b0_direction)
    return {
        "Echoes": f"{len(scan.echo_times_s)}, TE = {echo_times} ms",
        "Field strength": f"{scan.field_strength_t:.4g} T",
        "Matrix": " × ".join(map(str, scan.shape)),
        "Voxel size": " × ".join(f"{size:.4g}" for size in scan.voxel_size_mm) + " mm",
        "B0 direction in voxel axes": f"({direction})",
        "Obliquity": f"{obliquity_deg(scan.b0_direction):.1f}°",
        "Scanner": scan.scanner,
    }


def _mandatory(scan: ScanRecord, reference: Sequence[Any], selection: str) -> dict[str, str]:
    region, mean, sd, n_voxels = reference
    further = "; ".join(scan.further_processing) or "none: maps keep the voxel grid of the scan"
    rows = {
        "Software": f"isdu-bids {scan.software_version}",
        "Algorithms and parameters": "as listed under Processing",
        "Further processing": further,
        "Unit and reference": f"ppm, referenced to: {plain(region)}",
    }
    if mean is not None:
        rows["Reference region against whole mask"] = (
            f"{mean:+.4f} ± {sd:.4f} ppm (mean ± SD), {plain(n_voxels)} voxels"
        )
    return rows | {"Inclusion and exclusion": selection}
