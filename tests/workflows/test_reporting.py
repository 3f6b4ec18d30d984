"""Reports and methods text from records alone, as jobs of an array write them."""

from __future__ import annotations

from pathlib import Path

from isdu_bids.bids.acquisition import Acquisition
from isdu_bids.bids.layout import summary_path
from isdu_bids.citations import Sentence, opening_sentence
from isdu_bids.quality.record import ScanRecord, write_record
from isdu_bids.workflows.reporting import write_reports

ROMEO = ("The phase was unwrapped with ROMEO", "10.1002/mrm.28563")
LAPLACIAN = ("The phase was unwrapped with Laplacian", "10.1364/OL.28.001194")


def process(out: Path, subject: str, run: str, *steps: Sentence) -> None:
    """Leave the record of a scan, as the end of its workflow does."""
    scan = Acquisition(subject, run=run, field_strength_t=3.0)
    record = ScanRecord(
        name=scan.name,
        echo_times_s=[0.01],
        field_strength_t=3.0,
        shape=[4, 4, 4],
        voxel_size_mm=(1.0, 1.0, 1.0),
        b0_direction=(0.0, 0.0, 1.0),
        sentences=(opening_sentence("9.8"), *steps),
    )
    write_record(summary_path(out, scan), record)


def report(out: Path, *subjects: str) -> str:
    write_reports(out, subjects, run_uuid="1", failures={})
    return (out / "logs/CITATION.md").read_text()


def test_runs_and_array_jobs_on_one_folder_add_up(tmp_path):
    process(tmp_path, "01", "1", ROMEO)
    process(tmp_path, "01", "2", ROMEO)
    first = report(tmp_path, "01")
    assert "Pipeline" not in first
    assert first.count("with ROMEO [") == 1
    process(tmp_path, "02", "1", LAPLACIAN)
    both = report(tmp_path, "02")  # a job of its own, which knows of its subject only
    assert both.count("### Pipeline ") == 2
    assert "with ROMEO [" in both
    assert "with Laplacian [" in both
    assert both.count("isdu-bids 9.8") == 2
    assert report(tmp_path, "01") == both
    assert "Laplacian" not in (tmp_path / "sub-01.html").read_text()


def test_a_scan_that_was_processed_again_is_told_as_it_is_now(tmp_path):
    process(tmp_path, "01", "1", LAPLACIAN)
    report(tmp_path, "01")
    process(tmp_path, "01", "1", ROMEO)
    assert "Laplacian" not in report(tmp_path, "01")


def test_a_damaged_record_spares_the_others(tmp_path):
    process(tmp_path, "01", "1", ROMEO)
    process(tmp_path, "01", "2", ROMEO)
    path = summary_path(tmp_path, Acquisition("01", run="2", field_strength_t=3.0))
    path.write_text("{}")
    assert "ROMEO" in report(tmp_path, "01")
    page = (tmp_path / "sub-01.html").read_text()
    assert "sub-01_run-2: " in page
    assert "is damaged or of another version" in page


def test_a_report_that_is_written_again_is_the_same(tmp_path):
    """It shows what made the maps, not what made the page."""
    process(tmp_path, "01", "1", ROMEO)
    report(tmp_path, "01")
    page = (tmp_path / "sub-01.html").read_bytes()
    report(tmp_path, "01")
    assert (tmp_path / "sub-01.html").read_bytes() == page


def test_a_failed_rerun_is_remembered_and_keeps_the_older_maps(tmp_path):
    process(tmp_path, "01", "1", ROMEO)
    write_reports(tmp_path, ["01"], run_uuid="2", failures={"sub-01_run-1": "mask failed"})
    for _ in range(2):
        page = (tmp_path / "sub-01.html").read_text()
        assert "The last run of this scan failed (mask failed)" in page
        assert "ROMEO" in page
        report(tmp_path, "01")
