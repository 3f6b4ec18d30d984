import re
import subprocess
import sys
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest
import yaml

from isdu_bids.quality.flags import Flag
from isdu_bids.quality.record import ScanRecord
from isdu_bids.reports.figures import FIGURES
from isdu_bids.reports.subject import write_subject_report

SECTIONS = [
    "Summary",
    "Magnitude and masks",
    "Phase",
    "Fields",
    "Susceptibility",
    "Quality",
    "Methods",
    "About",
    "Errors",
]


def summary(name, **changes):
    return ScanRecord(
        name=name,
        echo_times_s=(0.005, 0.0125),
        field_strength_t=3.0,
        shape=(36, 44, 24),
        voxel_size_mm=(2.0, 2.0, 3.0),
        b0_direction=(0.0, 0.6, 0.8),
        facts={
            "phase_scaling": "rad <as stored>",
            "inversion": "isdu",
            "inversion_reference": "10.9999/cited-elsewhere",
            "inversion_device": "cuda:0",
            "background_device": "cpu",
            "weights": "final",
            "weights_sha256": "ab" * 32,
            "reference": "ventricular CSF",
            "reference_mean_ppm": 0.0123,
            "reference_sd_ppm": 0.02,
            "reference_n_voxels": 321,
            "inversion_parameters": {"iterations": 4},
        },
        sentences=(("Phase was unwrapped", "10.1002/mrm.28563"),),
        measures={"chi_sd_ppm": 0.031, "streak_index": float("nan")},
        **changes,
    )


def write(output_dir, scans, drawn=(), **extra):
    folder = output_dir / "sub-01" / "figures"
    folder.mkdir(parents=True)
    for scan in scans:
        for path in drawn:
            (folder / path.name.replace("sub-01", scan.name)).write_bytes(path.read_bytes())
    page = write_subject_report(
        output_dir,
        "01",
        scans=scans,
        run_uuid="20261122-1",
        about={"Command line": "isdu-bids in out participant"},
        **extra,
    )
    assert page == output_dir / "sub-01.html"
    return page.read_text(encoding="utf-8")


def headings(page, level):
    return re.findall(rf"<h{level}>(.*?)</h{level}>", page)


def images(page):
    return re.findall(r'<img [^>]*src="\./([^"]+)"', page)


def test_every_section_and_every_image_is_there(tmp_path, drawn):
    page = write(tmp_path, [summary("sub-01")], drawn)
    assert headings(page, 1) == SECTIONS
    assert headings(page, 2) == []
    assert images(page) == [f"sub-01/figures/{path.name}" for path in drawn]
    for name in images(page):
        assert (tmp_path / name).is_file()


def test_figures_name_sections_that_the_report_has():
    outline = (files("isdu_bids") / "data/reports/subject.yml").read_text()
    sections = {section["name"] for section in yaml.safe_load(outline)}
    assert {figure.section for figure in FIGURES} <= sections


def test_nothing_is_loaded_from_the_network(tmp_path, drawn):
    page = write(tmp_path, [summary("sub-01")], drawn)
    assert not re.search(r'(?:src|data)\s*=\s*"(?:https?:)?//', page)
    assert not re.search(r"<(?:script|link)\b|@import|url\(", page)


def test_links_within_the_page_lead_somewhere(tmp_path, drawn):
    scans = [summary(f"sub-01_ses-{label}") for label in "12"]
    page = write(tmp_path, scans, drawn)
    anchors = re.findall(r'\bid="([^"]+)"', page)
    assert len(set(anchors)) == len(anchors)
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(anchors)


def test_sessions_and_runs_are_kept_apart(tmp_path, drawn):
    """A scan without entities must not take in the figures of those that have some."""
    names = ["sub-01", "sub-01_ses-1_run-01", "sub-01_ses-1_run-02", "sub-01_acq-x_rec-y"]
    page = write(tmp_path, [summary(name) for name in names], drawn)
    titles = ["sub-01", "ses-1 run-01", "ses-1 run-02", "acq-x rec-y"]
    assert headings(page, 2) == titles * 6
    expected = {f"sub-01/figures/{p.name.replace('sub-01', n)}" for n in names for p in drawn}
    assert set(images(page)) == expected
    assert len(images(page)) == len(expected)


@pytest.mark.parametrize("folder", ["ses-7/anat", "sub-99/figures/run-3_desc-x", "acq-a b/{out}"])
def test_the_output_folder_may_have_any_name(tmp_path, drawn, folder):
    page = write(tmp_path / folder, [summary("sub-01")], drawn)
    assert len(images(page)) == len(drawn)


def test_summary_tells_what_the_consensus_demands(tmp_path):
    page = write(tmp_path, [summary("sub-01")], selection="adults only")
    for text in (
        "2, TE = 5, 12.5 ms",
        "2 × 2 × 3 mm",
        "(0.0000, 0.6000, 0.8000)",
        "36.9°",
        "rad &lt;as stored&gt;",
        "cuda:0",
        "ab" * 32,
        "iterations = 4",
        "ppm, referenced to: ventricular CSF",
        "+0.0123 ± 0.0200 ppm (mean ± SD), 321 voxels",
        "adults only",
        "isdu-bids in out participant",
    ):
        assert text in page, text
    assert "cited-elsewhere" not in page


def test_flags_come_with_their_severity_and_nan_is_not_a_number(tmp_path):
    flags = [
        Flag("streaks", "warning", "too many streaks"),
        Flag("no_map", "error", "there is no map"),
    ]
    page = write(tmp_path, [summary("sub-01", flags=flags)])
    assert page.count('<li class="warning"><b>warning</b> too many streaks</li>') == 2
    assert '<li class="error"><b>error</b> there is no map</li>' in page
    assert "n/a" in page
    assert ">nan<" not in page
    assert "No remarks" not in page


def test_the_methods_of_all_scans_are_told_once(tmp_path):
    other = (("Phase was not unwrapped", ""),)
    scans = [summary("sub-01_run-1"), summary("sub-01_run-2")]
    page = write(tmp_path / "a", scans)
    assert page.count("Phase was unwrapped [1].") == 1
    assert "<h4>" not in page
    page = write(tmp_path / "b", [*scans, replace(scans[0], sentences=other)])
    assert page.count("<h4>Pipeline ") == 2
    assert f"<h4>Pipeline {scans[0].pipeline}</h4>" in page


def test_further_processing_is_told(tmp_path):
    assert "none: maps keep the voxel grid" in write(tmp_path / "a", [summary("sub-01")])
    scan = summary("sub-01", further_processing=["the field was resampled"])
    page = write(tmp_path / "b", [scan])
    assert "the field was resampled" in page
    assert "none: maps keep" not in page


def test_errors_are_shown_and_escaped(tmp_path):
    crash = tmp_path / "crash-1.txt"
    crash.write_text("Node: field\nValueError: <nothing> & all")
    page = write(tmp_path / "out", [], failures={"sub-01": "field failed"}, crash_files=[crash])
    assert (
        page.count('<li class="error"><b>error</b> sub-01: field failed</li>') == 2
    )  # top and end
    assert "ValueError: &lt;nothing&gt; &amp; all" in page
    assert headings(page, 1) == ["Summary", "About", "Errors"]


def test_no_errors_is_good_news(tmp_path):
    assert '<li class="good">All steps have run.</li>' in write(tmp_path, [summary("sub-01")])


def test_a_second_run_replaces_the_first(tmp_path):
    scan = summary("sub-01")
    write(tmp_path, [replace(scan, flags=[Flag("x", "info", "first remark")])])
    for path in (tmp_path / "sub-01" / "figures").iterdir():
        path.rename(path)  # fragments stay
    page = write_subject_report(tmp_path, "01", scans=[scan], run_uuid="2", about={}).read_text()
    assert "first remark" not in page
    assert sorted(p.name for p in tmp_path.iterdir()) == ["sub-01", "sub-01.html"]


def test_importing_the_package_is_light():
    heavy = {"matplotlib", "nireports", "nipype", "bids", "torch"}
    code = f"import sys, isdu_bids.reports; sys.exit(bool({heavy!r} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_regions_are_a_section_of_scans_that_have_them(tmp_path):
    """A scan that was segmented once must not show its old table later."""
    columns = ["index", "name", "n_voxels", "volume_mm3", "coverage", "chi_mean_ppm"]
    columns += ["chi_sd_ppm", "chi_median_ppm", "r2star_mean_per_s"]
    row = [13, "Left-Pallidum", 9, 72.0, 1.0, 0.1239, 0.01, 0.12, None]
    regions = {name: [value] for name, value in zip(columns, row, strict=True)}
    scan = summary("sub-01_ses-1")
    with_regions = replace(summary("sub-01_ses-2"), regions=regions)
    page = write(tmp_path, [scan, with_regions])
    assert "Regions" in headings(page, 1)
    section = page.split("<h1>Regions</h1>")[1].split("<h1>")[0]
    assert "+0.1239 ± 0.0100" in section
    assert headings(section, 2) == ["ses-2"]
    again = write_subject_report(
        tmp_path, "01", scans=[scan, replace(with_regions, regions=None)], run_uuid="2", about={},
    ).read_text()  # fmt: skip
    assert "Regions" not in headings(again, 1)
    assert "Left-Pallidum" not in again


def test_plain_arrays_of_numbers(tmp_path):
    scan = summary("sub-01")
    page = write(tmp_path, [replace(scan, facts={"some_new_parameter": [1, 0.25, np.nan]})])
    assert "<tr><th>Some new parameter</th><td>1, 0.25, n/a</td></tr>" in page
