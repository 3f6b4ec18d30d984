"""Stands in for ``isdu-bids``: takes its words, and behaves as the file of a subject says."""

import json
import sys
import time
from itertools import pairwise
from pathlib import Path


def main(bids: str, output: str, level: str, *words: str) -> None:
    bids_dir, output_dir = Path(bids), Path(output)
    folder = bids_dir.parent
    if level == "group":
        found = sorted(path.name for path in output_dir.glob("sub-*/anat/*_Chimap.nii.gz"))
        add_line(folder / "groups.txt", " ".join(found))
        return
    options = dict(pairwise(words))
    assert Path(options["--work-dir"]).is_dir()
    subject = f"sub-{options['--participant-label']}"
    sidecars = bids_dir.glob(f"{subject}/**/*_echo-1_part-phase*.json")
    scans = sorted(path.name.partition("_echo-")[0] for path in sidecars)
    if filters := options.get("--bids-filter-file"):
        run = json.loads(Path(filters).read_text())["megre"]["run"]
        scans = [scan for scan in scans if run is None or scan.endswith(f"run-{run}")]
    add_line(folder / "words.txt", " ".join(words))
    for scan in scans:
        add_line(folder / "runs.txt", scan)
    behave((bids_dir / subject / "behaviour").read_text(), scans)
    for scan in scans:
        write_results(output_dir / subject, scan, folder / "record.json", bids_dir / subject)


def add_line(path: Path, line: str) -> None:
    with path.open("a") as file:  # lines this short are written in one piece
        file.write(line + "\n")


def behave(how: str, scans: list[str]) -> None:
    if how == "corrupt":
        print(f"{scans[0]}: field failed: the image ends early (details: crash.txt)")
        print("report: sub-x.html")
        sys.exit(1)
    if how == "memory":
        hog = b"x" * 1_500_000_000
        time.sleep(60)
        del hog
    if how == "slow":
        print("taking my time", flush=True)
        time.sleep(300)


def write_results(folder: Path, scan: str, record: Path, subject: Path) -> None:
    is_flagged = (subject / "behaviour").read_text() == "flagged"
    flag = {"name": "noisy", "severity": "warning", "message": "noise"}
    content = json.loads(record.read_text())
    content |= {"name": scan, "flags": [flag] if is_flagged else []}
    for part in ("anat", "log"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "anat" / f"{scan}_Chimap.nii.gz").write_bytes(b"chi")
    (folder / "anat" / f"{scan}_Chimap.json").write_text("{}")
    (folder / "log" / f"{scan}_summary.json").write_text(json.dumps(content))


if __name__ == "__main__":
    main(*sys.argv[1:])
