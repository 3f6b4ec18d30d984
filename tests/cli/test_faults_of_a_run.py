"""Faults of a run around the steps themselves, which are not run: their outputs are written."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from faults import fault
from skeleton import AFFINE, SHAPE, make_dataset

from isdu_bids import images
from isdu_bids.bids.acquisition import Acquisition
from isdu_bids.bids.query import Problem
from isdu_bids.cli import app, processing
from isdu_bids.errors import DataError, IsduError
from isdu_bids.interfaces.outputs import WriteDerivatives
from isdu_bids.reports.subject import write_subject_report
from isdu_bids.workflows.contents import Contents
from isdu_bids.workflows.work_folder import private_folder

FAILED = [Problem("sub-01", "field failed: the reason", IsduError)]


@pytest.fixture
def raw(tmp_path) -> Path:
    return make_dataset(tmp_path / "raw", {"sub-01": {}, "sub-02": {}})


def write_results(folder: Path, scan: Acquisition, output_dir: Path, sha256: str) -> None:
    folder.mkdir(parents=True)
    maps = {}
    for name in ("brain_mask", "eroded_mask", "total_field_ppm", "local_field_ppm", "chi_ppm"):
        maps[name] = str(images.save_volume(np.ones(SHAPE, "f4"), AFFINE, folder / f"{name}.nii"))
    stack = np.ones((*SHAPE, 3), "f4")
    maps["magnitude"] = str(images.save_volume(stack, AFFINE, folder / "magnitude.nii"))
    (folder / "notes.json").write_text('{"sentences": [], "flags": [], "summary": {}}')
    (folder / "measures.json").write_text("{}")
    WriteDerivatives(
        acquisition=scan,
        b0_direction=(0.0, 0.0, 1.0),
        output_dir=str(output_dir),
        measures=str(folder / "measures.json"),
        notes=[str(folder / "notes.json")],
        inputs_sha256=sha256,
        **maps,
    ).run(cwd=str(folder))


@pytest.fixture
def run(raw, tmp_path, monkeypatch):
    """Run the app; the steps give these outcomes, or write results if they give none."""

    def call(*options: str, steps=None, output: Path = tmp_path / "out") -> int:
        def stand_in(options, scans, resources, run_uuid, work_dir, contents, *_):
            call.processed += [scan.name for scan in scans]
            for scan in scans if steps is None else ():
                sha256 = contents.of_scan(scan)
                write_results(work_dir / run_uuid / scan.name, scan, output, sha256)
            return [] if steps is None else steps()

        for finished in (tmp_path / "work").glob("*/finished") if steps else ():
            shutil.rmtree(finished)  # so that there are steps to run
        monkeypatch.setattr(processing, "run_all", stand_in)
        monkeypatch.setattr(os, "environ", os.environ.copy())
        line = [str(raw), str(output), "participant", "-w", str(tmp_path / "work")]
        return app.main([*line, "--skip-bids-validation", *options])

    call.processed = []
    return call


def chi(folder: Path, subject: str = "sub-01") -> Path:
    return folder / "out" / subject / "anat" / f"{subject}_Chimap.nii.gz"


def images_of(out: Path, subject: str = "sub-01") -> list[Path]:
    return [p for kind in ("*.nii.gz", "*_summary.json") for p in (out / subject).rglob(kind)]


def raising(error: BaseException):
    def steps():
        raise error

    return steps


@fault(
    "a rerun fails", "earlier images are set aside; no report shows them as results", exit_code=1
)
def test_after_a_failed_rerun_nothing_passes_for_a_result(run, tmp_path):
    assert run() == 0
    assert chi(tmp_path).exists()
    assert run(steps=lambda: FAILED) == 1
    assert not images_of(tmp_path / "out")
    assert chi(tmp_path, "sub-02").exists()
    aside = list((tmp_path / "out/sub-01/log").glob("*/earlier/*_Chimap.nii.gz.earlier"))
    assert len(aside) == 1
    run("--reports-only")
    assert "the reason" in (tmp_path / "out/sub-01.html").read_text()
    assert run() == 0  # and all is well again
    assert chi(tmp_path).exists()
    assert "the reason" not in (tmp_path / "out/sub-01.html").read_text()


@fault("the input of a map is damaged later", "refused; the earlier map is set aside")
def test_a_map_whose_scan_can_no_longer_be_read_is_no_result(run, raw, tmp_path, capsys):
    assert run() == 0
    next((raw / "sub-01/anat").glob("*phase*.json")).write_text("{")
    assert run() == 65
    assert not images_of(tmp_path / "out")
    assert "earlier results are now in" in capsys.readouterr().err


@fault(
    "an input is replaced by another of equal size and time, then --reports-only",
    "the report says that the scan has changed, and does not show the map",
)
def test_reports_do_not_show_maps_of_other_inputs(run, raw, tmp_path):
    assert run() == 0
    assert run("--reports-only") == 0
    replace_unnoticeably(next((raw / "sub-01/anat").glob("*phase*.nii.gz")))
    assert run("--reports-only") == 65
    assert "the scan has changed since" in (tmp_path / "out/sub-01.html").read_text()
    assert "has changed" not in (tmp_path / "out/sub-02.html").read_text()
    assert run() == 0
    assert run("--reports-only") == 0


def replace_unnoticeably(path: Path) -> None:
    """Change a byte of a file (of the time in gzip's header); size and time of writing stay."""
    before, content = path.stat(), bytearray(path.read_bytes())
    content[4] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def test_options_that_do_not_fit_a_scan_leave_its_maps(run, raw, tmp_path):
    make_dataset(raw, {"sub-01": {"echo_times_s": (0.004, 0.008)}})
    for path in (raw / "sub-01/anat").glob("*echo-3*"):
        path.unlink()
    assert run() == 0
    assert run("--reference", "csf") == 65
    assert chi(tmp_path).exists()


def test_a_refusal_is_forgotten_once_the_options_fit_again(run, raw, tmp_path):
    make_dataset(raw, {"sub-01": {"echo_times_s": (0.004, 0.008)}})
    for path in (raw / "sub-01/anat").glob("*echo-3*"):
        path.unlink()
    page = tmp_path / "out/sub-01.html"
    assert run() == 0
    assert run("--reference", "csf") == 65
    assert "--reference csf needs" in page.read_text()
    assert run() == 0
    assert "--reference csf needs" not in page.read_text()


@fault("Ctrl-C", "report; the same command goes on; earlier maps stay", exit_code=130)
def test_an_interrupted_run_reports_what_is_not_finished(run, tmp_path, capsys):
    assert run() == 0
    assert run(steps=raising(KeyboardInterrupt())) == 130
    assert "the same command" in capsys.readouterr().err
    assert "not finished" in (tmp_path / "out/sub-01.html").read_text()
    assert chi(tmp_path).exists()


@fault("disk full between two steps", "one line; the same command goes on", exit_code=73)
def test_no_space_left_reaches_the_user(run, capsys):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/work/result.pklz")
    assert run(steps=raising(full)) == 73
    assert "No space left on device: '/work/result.pklz'" in capsys.readouterr().err


@fault("memory of the main process is limited (ulimit -v)", "one line with the remedy", 71)
@pytest.mark.parametrize(
    "error", [MemoryError(), ImportError("libtorch.so: failed to map segment from shared object")]
)
def test_memory_of_the_main_process_runs_out(run, capsys, error):
    assert run(steps=raising(error)) == 71
    assert "ulimit -v" in capsys.readouterr().err


def test_a_missing_library_is_no_lack_of_memory(run):
    with pytest.raises(ImportError, match="libtorch"):
        run(steps=raising(ImportError("libtorch.so: no such file")))


@fault(
    "the output folder of a subject is a link to the raw data",
    "refused before anything is written",
    exit_code=64,
)
@pytest.mark.parametrize("link", ["sub-01", "sub-01/anat", "sub-01/log", "logs"])
def test_links_out_of_the_output_folder_are_refused(run, raw, tmp_path, capsys, link):
    before = {path: path.read_bytes() for path in raw.rglob("*") if path.is_file()}
    (tmp_path / "out" / link).parent.mkdir(parents=True)
    (tmp_path / "out" / link).symlink_to(raw / "sub-01", target_is_directory=True)
    assert run() == 64
    assert "link out of the output folder" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in raw.rglob("*") if path.is_file()} == before


@fault("an output is a link to a file elsewhere", "refused before anything is written", 64)
def test_a_link_of_one_output_does_not_overwrite_its_target(run, tmp_path):
    chi(tmp_path).parent.mkdir(parents=True)
    (tmp_path / "mine").write_text("mine")
    chi(tmp_path).symlink_to(tmp_path / "mine")
    assert run() == 64
    assert (tmp_path / "mine").read_text() == "mine"


def test_links_within_the_output_folder_are_allowed(run, tmp_path):
    (tmp_path / "out/annex").mkdir(parents=True)
    (tmp_path / "out/sub-01").symlink_to(tmp_path / "out/annex", target_is_directory=True)
    assert run() == 0


HOLD = """
import sys, time
from pathlib import Path
from isdu_bids.bids.acquisition import Acquisition
from isdu_bids.workflows.work_folder import claimed
with claimed([Acquisition("01", field_strength_t=3.0)], [Path(sys.argv[1])]) as (free, busy):
    print(len(free), flush=True)
    time.sleep(600)
"""


@fault(
    "two runs on one output or work folder",
    "the second leaves the scans of the first alone and does the others",
    exit_code=75,
)
@pytest.mark.parametrize("shared", ["work", "output"])
def test_a_scan_belongs_to_one_run(run, raw, tmp_path, capsys, shared):
    work = private_folder(tmp_path / "work", raw)
    folder = {"work": work, "output": tmp_path / "out" / "logs"}[shared]
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "1\n"
            assert run() == 75
        finally:
            other.kill()
    assert "sub-01: another run works on this scan" in capsys.readouterr().err
    assert not images_of(tmp_path / "out", "sub-01")
    assert images_of(tmp_path / "out", "sub-02")
    assert run() == 0  # a killed run holds nothing
    assert images_of(tmp_path / "out", "sub-01")


@fault("a file of the scan lies in another subject's folder", "refused before computing")
def test_what_the_sidecars_cannot_name_is_refused_before_computing(tmp_path):
    (tmp_path / "sub-02").mkdir()
    path = tmp_path / "sub-02" / "sub-01_part-mag_MEGRE.nii"
    path.write_bytes(b"")
    scan = Acquisition("01", magnitude_files=(path,), field_strength_t=3.0)
    problem = processing._unreadable(scan, Contents(tmp_path / "checksums.json"))
    assert problem is not None
    assert problem.error is DataError
    assert "does not lie in the folder sub-01" in problem.message


@fault(
    "killed by SIGKILL while writing", "half a file by another name; the next run removes it", 137
)
def test_what_a_killed_run_left_is_removed(run, tmp_path):
    assert run() == 0
    half = chi(tmp_path).with_name(f".0123abcd.{chi(tmp_path).name}")
    half.write_bytes(b"")
    shutil.rmtree(next((tmp_path / "work").glob("*/finished")))  # it had not come so far
    assert run() == 0
    assert not half.exists()


def set_aside_a_page(tmp_path: Path) -> None:
    (tmp_path / "out/sub-01.html").unlink()


def change_a_map(tmp_path: Path) -> None:
    chi(tmp_path).write_bytes(chi(tmp_path).read_bytes())


def change_a_scan(tmp_path: Path) -> None:
    for sidecar in (tmp_path / "raw/sub-01").rglob("*.json"):
        sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | {"SeriesDescription": "x"}))


@pytest.mark.parametrize(
    ("change", "options", "anew"),
    [
        (lambda _: None, [], []),
        (lambda _: None, ["--nprocs", "3"], []),
        (set_aside_a_page, [], []),
        (change_a_map, [], ["sub-01"]),
        (lambda folder: chi(folder).unlink(), [], ["sub-01"]),
        (change_a_scan, [], ["sub-01"]),
        (lambda _: None, ["--inversion", "tkd"], ["sub-01", "sub-02"]),
        (lambda _: None, ["--inversion", "tkd:threshold=0.3"], ["sub-01", "sub-02"]),
    ],
)
def test_a_rerun_processes_what_has_changed(run, tmp_path, capsys, change, options, anew):
    assert run() == 0
    change(tmp_path)
    run.processed.clear()
    assert run(*options) == 0
    assert run.processed == anew
    assert (tmp_path / "out/sub-01.html").exists()
    assert ("sub-02: nothing has changed" in capsys.readouterr().out) == ("sub-02" not in anew)


@fault("HTML in the name of a dataset", "shown as text", 0)
def test_the_page_escapes(tmp_path):
    failures = {"sub-01_<b>": "cannot read <script>1</script>.nii.gz"}
    crash = tmp_path / "crash-<i>.txt"
    crash.write_text("<u>line</u>")
    page = write_subject_report(tmp_path, "01", scans=[], failures=failures, crash_files=[crash])
    text = page.read_text()
    assert "&lt;script&gt;1" in text
    assert not any(tag in text for tag in ("<script>1", "<u>", "sub-01_<b>", "crash-<i>"))


def test_the_record_of_a_run_that_is_cut_short_is_gone(run, tmp_path, monkeypatch):
    assert run() == 0

    def full(*arguments, **keywords):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("isdu_bids.interfaces.outputs.write_outputs", full)
    scan = Acquisition("01", field_strength_t=3.0)
    with pytest.raises(OSError, match="No space left"):
        write_results(tmp_path / "again", scan, tmp_path / "out", "")
    assert not (tmp_path / "out/sub-01/log/sub-01_summary.json").exists()
    assert json.loads((tmp_path / "out/sub-02/log/sub-02_summary.json").read_text())
