"""Outputs of a participant level that never ran: records, pictures and pages with known values."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from isdu_bids.bids.layout import failure_path, log_folder, thumbnail_path
from isdu_bids.files import write_json
from isdu_bids.quality.flags import Flag
from isdu_bids.quality.record import ScanRecord, write_record
from isdu_bids.segmentation.labels import GROUPS, REGIONS, SYNTHSEG_LABELS
from isdu_bids.segmentation.statistics import STATISTICS_COLUMNS

#: ppm; with the truth of the cohort below.
MEANS_PPM = {"Pallidum": 0.13, "Putamen": 0.06, "Caudate": 0.05, "Thalamus": 0.01}
SLOPE_PPM_PER_YEAR = {"Putamen": 0.001}
LEFT_MORE_PPM = {"Caudate": 0.004}
SD_BETWEEN_PPM, SD_WITHIN_PPM = 0.006, 0.003
FACTS = {
    "mask": "combined",
    "unwrapping": "romeo",
    "combination": "phase_snr",
    "background": "jdf",
    "inversion": "tkd",
    "reference": "whole mask",
    "segmentation": "synthseg_2.0",
}


@dataclass(frozen=True)
class Person:
    label: str
    age: int
    sex: str


def people(n, seed=0):
    """Persons of 20 to 80 years."""
    generator = np.random.default_rng(seed)
    ages, sexes = generator.integers(20, 81, n), generator.choice(["M", "F"], n)
    return [Person(f"{i + 1:04d}", int(ages[i]), str(sexes[i])) for i in range(n)]


def write_participants(bids_dir: Path, persons):
    rows = [f"sub-{p.label}\t{p.age}\t{p.sex}" for p in persons]
    bids_dir.mkdir(parents=True, exist_ok=True)
    (bids_dir / "participants.tsv").write_text("\n".join(["participant_id\tage\tsex", *rows, ""]))


def write_raw_names(bids_dir: Path, names):
    """Empty files: the group level looks at names only."""
    for name in names:
        subject, *rest = name.split("_")
        session = [part for part in rest if part.startswith("ses-")]
        folder = bids_dir.joinpath(subject, *session, "anat")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}_echo-1_part-phase_MEGRE.nii.gz").touch()


def regions_table(means_ppm, coverage=1.0, missing=()):
    """Columns of the statistics; ``means_ppm``: (structure, side) -> mean."""
    rows = [(label, REGIONS[label].name) for label in SYNTHSEG_LABELS if label]
    rows += [(None, name) for name in (*GROUPS, "Whole-Mask")]
    table = {column: [] for column in STATISTICS_COLUMNS}
    for index, name in rows:
        structure = name.removeprefix("Left-").removeprefix("Right-")
        side = {"L": "L", "R": "R"}.get(name[0] if structure != name else "")
        is_empty = structure in missing
        mean = float("nan") if is_empty else means_ppm.get((structure, side), 0.0)
        known = {
            "index": index, "name": name, "hemisphere": side,
            "n_voxels": 0 if is_empty else 500, "volume_mm3": 1500.0,
            "coverage": 0.0 if is_empty else coverage,
        }  # fmt: skip
        for column, values in table.items():
            values.append(known.get(column, mean))
    return table


def record(name, means_ppm, *, flags=(), facts=FACTS, seed=0, **regions):
    generator = np.random.default_rng(seed)
    measures = {"brain_volume_ml": generator.normal(1300, 90), "snr_echo1": generator.normal(60, 5),
                "dipole_residual_percent": generator.normal(20, 2)}  # fmt: skip
    return ScanRecord(
        name=name,
        echo_times_s=(0.005, 0.015),
        field_strength_t=3.0,
        shape=(64, 64, 64),
        voxel_size_mm=(1.0, 1.0, 1.0),
        b0_direction=(0.0, 0.0, 1.0),
        facts=facts,
        measures=measures,
        flags=[Flag(*flag) for flag in flags],
        regions=regions_table(means_ppm, **regions),
    )


def write_scan(output_dir: Path, scan: ScanRecord, picture=None):
    subject = scan.name.partition("_")[0].removeprefix("sub-")
    write_record(log_folder(output_dir, subject) / f"{scan.name}_summary.json", scan)
    (output_dir / f"sub-{subject}.html").write_text("<!DOCTYPE html><title>a subject</title>")
    if picture is not None:
        path = thumbnail_path(output_dir, scan.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture)


def write_failure(output_dir: Path, name, reason):
    write_json(failure_path(output_dir, name), {"reason": reason, "run": "x"})


def person_means(person, generator, session=0):
    """Regional means of one scan by the truth above."""
    means = {}
    own = np.random.default_rng(int(person.label))
    for structure in {REGIONS[label].name.removeprefix("Left-") for label in SYNTHSEG_LABELS}:
        base = MEANS_PPM.get(structure, 0.0) + own.normal(0, SD_BETWEEN_PPM)
        base += SLOPE_PPM_PER_YEAR.get(structure, 0.0) * (person.age - 50)
        for side in ("L", "R", None):
            more = LEFT_MORE_PPM.get(structure, 0.0) if side == "L" else 0.0
            means[structure, side] = base + more + generator.normal(0, SD_WITHIN_PPM)
    return means


def write_cohort(output_dir: Path, bids_dir: Path, n, sessions=("",), flags_of=lambda i: ()):
    """Write ``n`` persons with one scan per session; return the names of the scans."""
    persons, names = people(n), []
    picture = thumbnail_bytes(output_dir)
    write_participants(bids_dir, persons)
    for i, person in enumerate(persons):
        for number, session in enumerate(sessions):
            name = f"sub-{person.label}" + (f"_ses-{session}" if session else "")
            generator = np.random.default_rng([i, number])
            means = person_means(person, generator)
            write_scan(
                output_dir, record(name, means, flags=flags_of(i), seed=[i, number]), picture
            )
            names.append(name)
    write_raw_names(bids_dir, names)
    return names


def thumbnail_bytes(folder: Path):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "picture.webp"
    Image.new("L", (232, 128), 90).save(path)
    content = path.read_bytes()
    path.unlink()
    return content
