"""The group level on outputs of a participant level that never ran."""

import json
import re
import resource
import shutil
import time
from pathlib import Path

import cohort
import numpy as np
import pandas as pd
import pytest

from isdu_bids.bids.dataset import write_dataset_files
from isdu_bids.bids.layout import log_folder, thumbnail_path
from isdu_bids.bids.validation import find_validator, validate
from isdu_bids.errors import DataError, NoInputError
from isdu_bids.group.write import read_participants, write_group

N = 24
WEIGHTS = ("preliminary_weights", "warning", "made with preliminary network weights")
NOISY = ("noisy", "warning", "the first echo has a signal-to-noise ratio of only 7")
SIGN = ("map_contradicts_field", "error", "the field of the map differs from the local field")
GOOD = ("sign_right", "info", "the sign of the phase agrees with the outline of the head")


def flags_of(i):
    return [GOOD, WEIGHTS, *([NOISY] if i == 3 else []), *([SIGN] if i == 5 else [])]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Two sessions of each person, and one of everything that can be wrong."""
    folder = tmp_path_factory.mktemp("group")
    out, raw = folder / "out", folder / "raw"
    names = cohort.write_cohort(out, raw, N, ("1", "2"), flags_of)
    far = {("Pallidum", "L"): 0.9, ("Pallidum", "R"): 0.13, ("Putamen", "L"): 0.06}
    cohort.write_scan(out, cohort.record(names[0], far, flags=[WEIGHTS]))
    cut = {("Pallidum", "L"): 0.13}
    cut = cohort.record(names[1], cut, flags=[WEIGHTS], coverage=0.3, missing=("Putamen",))
    cohort.write_scan(out, cut)
    cohort.write_failure(out, names[2], "figures failed: no space left")  # its map is older
    cohort.write_failure(out, "sub-9001", "mask failed: the brain mask is empty")
    cohort.write_raw_names(raw, ["sub-9001", "sub-9002"])
    shutil.rmtree(log_folder(out, "0002") / "x", ignore_errors=True)
    (log_folder(out, "9003") / "20260101-000000_x").mkdir(parents=True)
    cohort.write_raw_names(raw, ["sub-9003"])
    with (raw / "participants.tsv").open("a") as file:
        file.write("sub-9004\t30\tF\n")
    write_dataset_files(out, raw)
    (raw / "dataset_description.json").write_text("{}")
    return out, raw, names


@pytest.fixture(scope="module")
def tables(dataset):
    out, raw, _ = dataset
    paths = write_group(out, raw)
    return {
        path.stem: pd.read_csv(path, sep="\t", na_values="n/a", keep_default_na=False)
        for path in paths
        if path.suffix == ".tsv"
    }


@pytest.fixture(scope="module")
def page(dataset, tables):
    return (dataset[0] / "group.html").read_text()


def test_every_scan_has_its_status_and_reason(tables):
    quality = tables["group_quality"].set_index("scan")
    assert quality["status"].value_counts().to_dict() == {
        "processed": 2 * N, "failed": 1, "missing": 2, "unfinished": 1,
    }  # fmt: skip
    assert quality.loc["sub-9001", "reason"] == "mask failed: the brain mask is empty"
    assert "has not been run" in quality.loc["sub-9002", "reason"]
    assert quality.loc["sub-9003", "status"] == "unfinished"
    assert "participants.tsv" in quality.loc["sub-9004", "reason"]
    older = quality.loc["sub-0002_ses-1"]
    assert (older["status"], older["reason"]) == ("processed", "figures failed: no space left")
    assert quality.loc["sub-0004_ses-1", "flags"] == "preliminary_weights,noisy"
    assert quality.loc["sub-0006_ses-1", "errors"] == 1
    assert quality.loc["sub-0001_ses-1", ["participant_id", "session_id"]].tolist() == [
        "sub-0001", 1,
    ]  # fmt: skip


def test_long_table_has_each_region_of_each_scan(tables, dataset):
    regions = tables["group_regions"]
    per_scan = regions.groupby("scan").size()
    assert list(per_scan.index) == sorted(dataset[2])
    assert per_scan.nunique() == 1
    assert not regions.duplicated(["scan", "name"]).any()
    assert regions["coverage"].between(0, 1).all()


def test_only_valid_support_counts(tables):
    regions = tables["group_regions"].set_index(["scan", "name"])
    assert regions.loc[("sub-0001_ses-1", "Left-Pallidum"), "included"]
    assert not regions.loc["sub-0001_ses-2", "included"].any()  # 30 % inside the map
    assert regions.loc["sub-0001_ses-2", "chi_mean_ppm"]["Left-Pallidum"] == 0.13
    assert np.isnan(regions.loc["sub-0001_ses-2", "chi_mean_ppm"]["Left-Putamen"])  # no voxel
    assert not regions.loc["sub-0006_ses-1", "included"].any()  # an error
    assert regions.loc["sub-0004_ses-1", "included"].all()  # a warning
    wide = tables["group_regions_wide"].set_index("scan")
    assert wide.loc["sub-0001_ses-2", "Left-Pallidum":].isna().all()
    assert wide.loc["sub-0001_ses-1", "Left-Pallidum"] == 0.9
    long = regions[regions["included"]]["chi_mean_ppm"].unstack()
    pd.testing.assert_frame_equal(
        wide[long.columns].dropna(how="all"), long, check_names=False, check_like=True
    )


def test_outlier_is_found_and_leads_to_its_page(tables, page):
    regions = tables["group_regions"]
    far = regions[(regions["robust_z"].abs() > 20)]
    assert set(far["scan"]) == {"sub-0001_ses-1"}
    assert "Left-Pallidum" in set(far["name"])
    assert regions.loc[~regions["included"], "robust_z"].isna().all()
    assert re.search(r'<a class="dot" href="sub-0001.html"[^>]*sub-0001_ses-1: 0.9', page)


def test_known_effects_are_found_and_no_others(tables):
    statistics = tables["group_statistics"]
    found = statistics[(statistics["p_fdr"] < 0.01) & (statistics["analysis"] != "reliability")]
    assert set(zip(found["structure"], found["contrast"], strict=True)) == {
        ("Putamen", "age"), ("Caudate", "left − right"),
    }  # fmt: skip
    icc = statistics[statistics["analysis"] == "reliability"].set_index("structure")
    assert icc.loc["Thalamus", "contrast"] == "sessions"
    # both sides in one halve the variance within
    between, within = cohort.SD_BETWEEN_PPM**2, cohort.SD_WITHIN_PPM**2 / 2
    assert icc.loc["Thalamus", "estimate"] == pytest.approx(between / (between + within), abs=0.1)


def test_every_column_is_described(dataset, tables):
    for name, table in tables.items():
        dictionary = json.loads((dataset[0] / f"{name}.json").read_text())
        assert list(table.columns) == [column for column in table.columns if column in dictionary]
        assert all(entry["Description"] for entry in dictionary.values())
    regions = json.loads((dataset[0] / "group_regions_wide.json").read_text())
    assert regions["Left-Pallidum"]["Units"] == "ppm"


def test_a_second_run_gives_the_same_bytes(dataset, tables):
    out, raw, _ = dataset
    first = {path.name: path.read_bytes() for path in out.glob("group*")}
    write_group(out, raw)
    assert {path.name: path.read_bytes() for path in out.glob("group*")} == first


def test_files_are_found_by_name_not_by_order(dataset, tables, tmp_path):
    out, raw, _ = dataset
    for path in sorted(out.glob("sub-*"), reverse=True):
        copy = shutil.copytree if path.is_dir() else shutil.copy
        copy(path, tmp_path / path.name)
    write_group(tmp_path, raw)
    for name in tables:
        assert (tmp_path / f"{name}.tsv").read_bytes() == (out / f"{name}.tsv").read_bytes()


def test_a_folder_that_is_being_written_is_no_error(dataset, tmp_path):
    out, raw, names = dataset
    shutil.copytree(out, tmp_path / "out")
    folder = log_folder(tmp_path / "out", "0003")
    record = folder / f"{names[4]}_summary.json"
    half = record.read_text()[:500]
    record.with_name(f".a1b2.{record.name}").write_text(half)  # as a job writes
    (folder / f"{names[5]}_summary.json").write_text(half)  # as a full disk leaves it
    (tmp_path / "out/sub-9005").mkdir()
    write_group(tmp_path / "out", raw)
    quality = pd.read_csv(tmp_path / "out/group_quality.tsv", sep="\t").set_index("scan")
    assert quality.loc[names[4], "status"] == "processed"
    assert quality.loc[names[5], "status"] == "failed"
    assert "run it again" in quality.loc[names[5], "reason"]


@pytest.mark.skipif(find_validator() is None, reason="bids-validator-deno is not installed")
def test_the_validator_finds_neither_errors_nor_warnings(dataset, tables):
    report = validate(dataset[0])
    assert (report.errors, report.warnings) == ((), ())


def test_page_names_what_needs_attention(page):
    assert "<b>48</b> of 52 scans have a map" in page
    assert "mask failed: the brain mask is empty" in page
    assert "figures failed: no space left" in page
    assert "the field of the map differs" in page
    assert page.count("made with preliminary network weights – all maps") == 1
    assert page.count("preliminary network weights") == 1
    assert "the sign of the phase agrees" not in page
    assert "<b>2</b> with a warning that not all have" in page
    assert "Left out are" in page


def test_remarks_that_differ_by_numbers_are_one(tmp_path):
    for i in range(3):
        noisy = ("noisy", "warning", f"the first echo has a signal-to-noise ratio of only {i}.5")
        cohort.write_scan(tmp_path, cohort.record(f"sub-0{i}", {}, flags=[noisy] * (i > 0)))
    write_group(tmp_path, tmp_path / "raw")
    page = (tmp_path / "group.html").read_text()
    assert "a signal-to-noise ratio of only …" in page
    assert "<summary>2 scans</summary>" in page
    assert "only 2.5" in page


def test_page_asks_the_network_for_nothing_and_its_links_lead_somewhere(page, dataset):
    out, _, _ = dataset
    assert not re.search(r"<script|<link|<iframe|@import|url\(|src=.https?:", page)
    targets = set(re.findall(r'(?:href|src)="([^"#]+)"', page))
    local = {target for target in targets if not target.startswith("https://doi.org/")}
    assert local - {"logs/CITATION.html"} == {
        target for target in local if (out / target).is_file()
    }
    assert {"sub-0001.html", "group_regions.tsv"} <= local
    anchors = set(re.findall(r'href="#([^"]+)"', page))
    assert anchors <= set(re.findall(r'id="([^"]+)"', page))


def test_page_is_for_all_readers(page):
    assert re.search(r'<html lang="en">', page)
    assert len(re.findall(r"<img ", page)) == len(re.findall(r'<img [^>]*alt="Map of ', page))
    assert "@media print" in page
    assert 'name="viewport"' in page


def test_acquisitions_are_never_put_together(tmp_path):
    out, raw = tmp_path / "out", tmp_path / "raw"
    generator = np.random.default_rng(0)
    for i in range(12):
        for acquisition, mean in (("fast", 0.1), ("slow", 0.2)):
            chi = {("Pallidum", side): mean + generator.normal(0, 0.001) for side in "LR"}
            name = f"sub-{i:02d}_acq-{acquisition}"
            cohort.write_scan(out, cohort.record(name, chi, seed=i))
    write_group(out, raw)
    regions = pd.read_csv(out / "group_regions.tsv", sep="\t")
    assert regions["robust_z"].abs().max() < 10
    page = (out / "group.html").read_text()
    assert "acq-fast" in page
    assert "acq-slow" in page


def test_scans_that_were_processed_differently_are_told(tmp_path):
    for i, method in enumerate(("tkd", "isdu")):
        facts = cohort.FACTS | {"inversion": method}
        cohort.write_scan(tmp_path, cohort.record(f"sub-0{i}", {}, facts=facts))
    write_group(tmp_path, tmp_path / "raw")
    page = (tmp_path / "group.html").read_text()
    assert "Scans were not processed alike" in page
    assert "Inversion differs" in page
    assert "isdu (1 scan); tkd (1 scan)" in page


def test_scans_without_regions_have_a_page(tmp_path):
    from dataclasses import replace

    record = replace(cohort.record("sub-01", {}), regions=None)
    cohort.write_scan(tmp_path, record)
    write_group(tmp_path, tmp_path / "raw")
    assert "No scan has regional values" in (tmp_path / "group.html").read_text()
    assert (tmp_path / "group_regions.tsv").read_text().count("\n") == 1


def test_an_empty_folder_and_a_bad_table_are_refused(tmp_path):
    with pytest.raises(NoInputError, match="participant' first"):
        write_group(tmp_path, tmp_path)
    (tmp_path / "participants.tsv").write_text("name\tage\nsub-01\t3\n")
    with pytest.raises(DataError, match="participant_id"):
        read_participants(tmp_path / "participants.tsv")


@pytest.mark.slow
def test_five_thousand_scans_take_less_than_a_minute_and_a_gigabyte(tmp_path: Path):
    out, raw = tmp_path / "out", tmp_path / "raw"
    cohort.write_cohort(out, raw, 5000, flags_of=flags_of)
    start = time.process_time()
    write_group(out, raw)
    assert time.process_time() - start < 60
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 1e6  # KiB
    quality = pd.read_csv(out / "group_quality.tsv", sep="\t")
    assert (quality["status"] == "processed").sum() == 5000
    assert quality["flags"].str.contains("noisy").sum() == 1
    rows = pd.read_csv(out / "group_regions.tsv", sep="\t", usecols=["scan", "name"])
    assert rows["scan"].nunique() == 5000
    assert len(rows) == 5000 * rows["name"].nunique()
    assert (out / "group.html").stat().st_size < 10e6
    assert thumbnail_path(out, "sub-0001").exists()
    first = {path.name: path.read_bytes() for path in out.glob("group_*")}
    write_group(out, raw)
    assert {path.name: path.read_bytes() for path in out.glob("group_*")} == first
