import re
import subprocess
import sys
from dataclasses import replace

import pytest

from isdu_bids.quality.flags import Flag
from isdu_bids.quality.record import ScanRecord, made_now
from isdu_bids.reports.subject import write_subject_report


def summary(name, **changes):
    record = ScanRecord(
        name=name,
        echo_times_s=(0.005, 0.0125),
        field_strength_t=3.0,
        shape=(36, 44, 24),
        voxel_size_mm=(2.0, 2.0, 3.0),
        b0_direction=(0.0, 0.6, 0.8),
        facts={
            "phase_scaling": "rad <as stored>",
            "mask": "combined",
            "background": "jdf",
            "inversion": "isdu",
            "inversion_reference": "vaddadi2025",
            "inversion_device": "cuda:0",
            "inversion_parameters": {"grid": "native", "crop": True},
            "weights": "final",
            "weights_sha256": "ab" * 32,
            "weights_description": "made for a test",
            "reference": "ventricular CSF",
            "reference_mean_ppm": 1.153e-11,
            "reference_sd_ppm": 0.02,
            "reference_n_voxels": 321,
        },
        sentences=(("Phase was unwrapped", "10.1002/mrm.28563"),),
        measures={"chi_sd_ppm": 0.031, "streak_index": float("nan"), "chi_mean_ppm": 1.153e-11},
        metadata={"RepetitionTime": 0.02},
        provenance={"Command": "isdu-bids in out participant", "Date": "2026-01-02 03:04"},
    )
    return replace(record, **changes)


def write(output_dir, scans, drawn=(), **extra):
    folder = output_dir / "sub-01" / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    for scan in scans:
        for path in drawn:
            (folder / path.name.replace("sub-01", scan.name)).write_bytes(path.read_bytes())
    page = write_subject_report(output_dir, "01", scans=scans, **extra)
    assert page == output_dir / "sub-01.html"
    return page.read_text(encoding="utf-8")


def headings(page, level):
    return re.findall(rf"<h{level}[^>]*>(.*?)</h{level}>", page)


def images(page):
    return re.findall(r'<img src="([^"]+)"', page)


def test_every_image_is_there_with_a_text_for_those_who_cannot_see_it(tmp_path, drawn):
    page = write(tmp_path, [summary("sub-01")], drawn)
    assert headings(page, 1) == ["sub-01"]
    assert sorted(images(page)) == sorted(f"sub-01/figures/{path.name}" for path in drawn)
    for name in images(page):
        assert (tmp_path / name).is_file()
    assert len(re.findall(r'<img [^>]*alt="[^"]{20}', page)) == len(drawn)


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
    assert set(re.findall(r'<label for="([^"]+)"', page)) <= set(anchors)


def test_sessions_and_runs_are_kept_apart(tmp_path, drawn):
    """A scan without entities must not take in the figures of those that have some."""
    names = ["sub-01", "sub-01_ses-1_run-01", "sub-01_ses-1_run-02", "sub-01_acq-x_rec-y"]
    page = write(tmp_path, [summary(name) for name in names], drawn)
    titles = ["sub-01", "sub-01 ses-1 run-01", "sub-01 ses-1 run-02", "sub-01 acq-x rec-y"]
    assert headings(page, 1) == titles
    expected = {f"sub-01/figures/{p.name.replace('sub-01', n)}" for n in names for p in drawn}
    assert set(images(page)) == expected
    assert len(images(page)) == len(expected)


def test_the_page_tells_what_the_consensus_demands(tmp_path):
    page = write(tmp_path, [summary("sub-01")], selection="adults only")
    for text in (
        "5, 12.5 ms",
        "2 × 2 × 3 mm",
        "72 × 88 × 72 mm",
        "0.02 s",
        "(0.000, 0.600, 0.800)",
        "36.9°",
        "rad &lt;as stored&gt;",
        "cuda:0",
        "ab" * 32,
        "ISDU-QSMNet",
        "the inversion is a neural network",
        "ppm, referenced to: ventricular CSF",
        "0.0000 ± 0.0200 ppm (mean ± SD), 321 voxels",
        "adults only",
    ):
        assert text in page, text


def test_short_names_and_exponents_are_not_shown(tmp_path):
    page = write(tmp_path, [summary("sub-01")])
    words = re.sub(r"<style>.*?</style>|<[^>]+>", " ", page, flags=re.DOTALL)
    assert not re.search(r"\d[eE][-+]\d|vaddadi2025|\bjdf\b|\bcombined\b|crop = yes|_ppm", words)
    assert "could not be measured" in words
    assert "Streak index" in words


def test_the_worst_comes_first_and_preliminary_weights_before_all(tmp_path):
    flags = [
        Flag("sign_right", "info", "all well"),
        Flag("streaks", "warning", "too many streaks"),
        Flag("no_map", "error", "there is no map"),
        Flag("preliminary_weights", "warning", "weights are preliminary"),
    ]
    page = write(tmp_path, [summary("sub-01", flags=flags)])
    told = ["weights are preliminary", "there is no map", "too many streaks", "all well"]
    assert [page.count(message) for message in told] == [1, 1, 1, 1]
    assert sorted(told, key=page.index) == told
    assert "Do not use: 1 error" in page


@pytest.mark.parametrize(
    ("severity", "text"),
    [("error", "Do not use"), ("warning", "Look before use: 1 warning"), ("info", "Usable")],
)
def test_one_line_tells_whether_the_scan_is_usable(tmp_path, severity, text):
    assert text in write(tmp_path, [summary("sub-01", flags=[Flag("x", severity, "y")])])


def test_measures_out_of_their_range_come_first_with_a_remedy(tmp_path):
    measures = {"n_echoes": 4.0, "brain_volume_ml": 300.0}
    page = write(tmp_path, [summary("sub-01", measures=measures)])
    assert page.index("Volume of the brain mask") < page.index("Number of echoes")
    assert "300 ml" in page
    assert "1000 to 1900 ml" in page
    assert "try another --mask" in page


def test_the_methods_of_all_scans_are_told_once(tmp_path):
    other = (("Phase was not unwrapped", ""),)
    scans = [summary("sub-01_run-1"), summary("sub-01_run-2")]
    page = write(tmp_path / "a", scans)
    assert page.count("Phase was unwrapped [1].") == 1
    page = write(tmp_path / "b", [*scans, replace(scans[0], name="sub-01_run-3", sentences=other)])
    assert page.count("<h4>Pipeline ") == 2
    assert f"<h4>Pipeline {scans[0].pipeline}</h4>" in page


def test_errors_are_shown_and_escaped(tmp_path):
    crash = tmp_path / "crash-1.txt"
    crash.write_text("Node: field\nValueError: <nothing> & all")
    page = write(tmp_path / "out", [], failures={"sub-01": "field failed"}, crash_files=[crash])
    assert page.count("sub-01: field failed") == 2  # top and end
    assert "ValueError: &lt;nothing&gt; &amp; all" in page


def test_maps_of_a_failed_run_are_shown_as_the_older_ones_that_they_are(tmp_path, drawn):
    failures = {"sub-01": "inversion failed"}
    page = write(tmp_path, [summary("sub-01")], drawn, failures=failures)
    assert "The last run of this scan failed (inversion failed)." in page
    assert "is from 2026-01-02 03:04" in page
    assert len(images(page)) == len(drawn)


def test_the_page_is_the_only_file_that_is_written(tmp_path):
    """No fragments, and nothing of zero bytes."""
    write(tmp_path, [summary("sub-01")])
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files == [tmp_path / "sub-01.html"]


def test_the_record_knows_its_command_and_date():
    made = made_now("isdu-bids a b participant")
    assert made["Command"] == "isdu-bids a b participant"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d", made["Date"])


def test_facts_that_no_step_claims_are_shown_too(tmp_path):
    facts = {"segmentation_error": "labels [999]", "some_new_parameter": [1, 0.25, float("nan")]}
    page = write(tmp_path, [summary("sub-01", facts=facts)])
    assert '<th scope="row">Segmentation error</th><td>labels [999]</td>' in page
    assert '<th scope="row">Some new parameter</th><td>1, 0.25, n/a</td>' in page


def test_importing_the_package_is_light():
    heavy = {"matplotlib", "jinja2", "nipype", "bids", "torch"}
    code = f"import sys, isdu_bids.reports; sys.exit(bool({heavy!r} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
