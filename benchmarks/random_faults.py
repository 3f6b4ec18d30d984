"""Random faults of one scan: none may change its map in silence.

    python benchmarks/random_faults.py [-n 1000] [--seed 0] [--first K] [--only K ...] [-o TSV]

A small simulated head is damaged in one random way at a time, in its sidecars, its headers, its
files or its voxels, and goes through the query and all steps of the app up to the written maps.
Outcomes:

=========  =========================================================================================
refused    one line that names a file of the scan
flagged    a warning or an error that the sound scan does not have
harmless   a map within 2 % of the sound scan's (NRMSE), without a flag
SILENT     another map without a flag
CRASHED    refused by anything else than a message for users
=========  =========================================================================================

A line per fault, and a table of outcomes by kind of fault.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from scipy.spatial.transform import Rotation

from isdu_bids.bids.acquisition import Acquisition
from isdu_bids.bids.layout import summary_path
from isdu_bids.bids.query import find_acquisitions
from isdu_bids.bids.simulated import affine_of_b0, write_simulated_dataset, write_simulated_scan
from isdu_bids.cli.environment import prepare_environment
from isdu_bids.cli.parser import parse_options
from isdu_bids.errors import DataError, IsduError
from isdu_bids.evaluation.tables import to_markdown
from isdu_bids.files import write_text
from isdu_bids.geometry import b0_direction, voxel_size_mm
from isdu_bids.images import load_stack, load_volume, save_volume
from isdu_bids.phase.wrapping import wrap
from isdu_bids.quality.record import read_record
from isdu_bids.simulation.demo_head import demo_head
from isdu_bids.simulation.scan import simulate_scan
from isdu_bids.workflows.contents import Contents
from isdu_bids.workflows.crashes import error_class, failed_scans
from isdu_bids.workflows.run import init_run_wf
from isdu_bids.workflows.scan import workflow_name

Draw = np.random.Generator
Array = npt.NDArray[Any]

SHAPE, B0_DIRECTION = (44, 52, 47), (0.0, 0.26, 0.966)
VOXEL_MM, ECHO_TIMES_S = (4.0, 4.0, 4.0), (0.005, 0.012, 0.019)
HARMLESS = 0.02

FIELDS = (
    *("EchoTime", "MagneticFieldStrength", "ImagingFrequency", "RepetitionTime", "Units"),
    *("Manufacturer", "ImageType", "B0_dir", "EchoNumber"),
)
VALUES: tuple[Any, ...] = (
    *(None, True, "", "rad", "3 T", [], {}, [0.005], [3.0, 1.5], ["M"], ["P"], [0, 0, 1]),
    *(0, -1, 1e-9, 0.0005, 0.3, 1.5, 3.01, 7, 63.9, 127.7, 5000, 10**400, float("nan")),
)
FACTORS = (1e-3, 0.1, 0.5, 0.9, 1.1, 2.0, 10.0, 1e3)


def write_head(dataset: Path) -> None:
    """Write the sound scan: uncompressed, and with all that can be contradicted."""
    generator = torch.Generator().manual_seed(1)
    affine = affine_of_b0(SHAPE, VOXEL_MM, B0_DIRECTION / np.linalg.norm(B0_DIRECTION))
    size, direction = voxel_size_mm(affine), b0_direction(affine)
    scan = simulate_scan(
        demo_head(SHAPE, size, generator),
        generator,
        voxel_size_mm=size,
        b0_direction=direction,
        echo_times_s=ECHO_TIMES_S,
    )
    write_simulated_dataset(dataset)
    write_simulated_scan(dataset, "01", scan, affine, ECHO_TIMES_S, 3.0)
    shutil.rmtree(dataset / "derivatives")
    for path in sorted(dataset.rglob("*.nii.gz")):
        volume = load_volume(path)
        save_volume(volume.data, volume.affine, path.with_suffix(""))
        path.unlink()
        kind = "P" if "part-phase" in path.name else "M"
        further = {"RepetitionTime": 0.03, "ImagingFrequency": 127.73, "ImageType": ["A", kind]}
        _edit(sidecar(path.with_suffix("")), lambda content, new=further: content | new)


class Scan:
    """The files of a scan to damage, and the source of randomness."""

    def __init__(self, dataset: Path, draw: Draw) -> None:
        self.draw = draw
        self.magnitude = sorted(dataset.rglob("*part-mag*.nii"))
        self.phase = sorted(dataset.rglob("*part-phase*.nii"))
        self.images = self.magnitude + self.phase

    def one(self, choices: Any) -> Any:
        """Choose."""
        return choices[int(self.draw.integers(len(choices)))]

    def some(self) -> list[Path]:
        """Choose one image, one echo, one part or all."""
        echo = int(self.draw.integers(len(self.phase)))
        pair = [self.magnitude[echo], self.phase[echo]]
        return list(self.one([[self.one(self.images)], pair, self.phase, self.magnitude,
                              self.images]))  # fmt: skip


def sidecar(image: Path) -> Path:
    return image.with_suffix(".json")


def _edit(path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


def field_value(scan: Scan) -> str:
    name, value, paths = scan.one(FIELDS), scan.one(VALUES), scan.some()
    for path in paths:
        _edit(sidecar(path), lambda content: content | {name: value})
    return f"{name} {value!r:.20} in {len(paths)}"


def field_factor(scan: Scan) -> str:
    name, factor, paths = scan.one(FIELDS[:4]), scan.one(FACTORS), scan.some()
    for path in paths:
        _edit(sidecar(path), lambda content: content | {name: content[name] * factor})
    return f"{name} x {factor:g} in {len(paths)}"


def field_gone(scan: Scan) -> str:
    name, paths = scan.one(FIELDS), scan.some()
    for path in paths:
        _edit(sidecar(path), lambda content: {k: v for k, v in content.items() if k != name})
    return f"no {name} in {len(paths)}"


def sidecar_bytes(scan: Scan) -> str:
    path = sidecar(scan.one(scan.images))
    content = bytearray(path.read_bytes())
    place = int(scan.draw.integers(len(content)))
    content[place : place + int(scan.draw.integers(0, 4))] = scan.draw.bytes(2)
    path.write_bytes(content)
    return f"{path.name} at {place}"


def header_bytes(scan: Scan) -> str:
    paths, place = scan.some(), int(scan.draw.integers(348))
    new = scan.draw.bytes(int(scan.draw.integers(1, 5)))
    for path in paths:
        content = bytearray(path.read_bytes())
        content[place : place + len(new)] = new
        path.write_bytes(content)
    return f"byte {place} {new.hex()} in {len(paths)}"


def affine(scan: Scan) -> str:
    paths, how = scan.some(), scan.one(["turned", "moved", "scaled", "mirrored"])
    change = np.eye(4)
    if how == "turned":
        turn = Rotation.random(random_state=int(scan.draw.integers(1000)))
        change[:3, :3] = turn.as_matrix()
    elif how == "moved":
        change[:3, 3] = scan.draw.normal(0, 10, 3)
    else:
        change[:3, :3] *= np.diag(-np.eye(3)[0] * 2 + 1) if how == "mirrored" else scan.one(FACTORS)
    for path in paths:
        volume = load_volume(path)
        save_volume(volume.data, change @ volume.affine, path)
    return f"{how} in {len(paths)}"


def file_damage(scan: Scan) -> str:
    path, how = scan.one(scan.images), scan.one(["cut", "empty", "gone", "noise", "zeros", "text"])
    content = path.read_bytes()
    place = int(scan.draw.integers(352, len(content)))
    length = int(10 ** scan.draw.uniform(0, 5))
    middle = {"noise": scan.draw.bytes(length), "zeros": bytes(length)}.get(how)
    if how == "gone":
        path.unlink()
    elif middle is not None:
        path.write_bytes((content[:place] + middle + content[place + length :])[: len(content)])
    else:
        path.write_bytes({"cut": content[:place], "empty": b"", "text": b"<html>404"}[how])
    return f"{path.name} {how}, {length} bytes at {place}"


def file_exchange(scan: Scan) -> str:
    a, b = (scan.images[k] for k in scan.draw.choice(len(scan.images), 2, replace=False))
    copied = bool(scan.draw.integers(2))
    first = a.read_bytes()
    if not copied:
        a.write_bytes(b.read_bytes())
    b.write_bytes(first)
    return f"{a.name} {'copied to' if copied else 'exchanged with'} {b.name}"


def phase_of_echoes(scan: Scan) -> str:
    return _change(scan, [scan.one(scan.phase)] if scan.draw.integers(2) else scan.phase, PHASE)


def magnitude_of_echoes(scan: Scan) -> str:
    paths = [scan.one(scan.magnitude)] if scan.draw.integers(2) else scan.magnitude
    return _change(scan, paths, MAGNITUDE)


def voxels(scan: Scan) -> str:
    if scan.draw.integers(4) == 0:  # not all files: the map would only lie elsewhere
        return _change(scan, scan.one([[scan.images[0]], scan.phase[1:2], scan.phase]), PLACES)
    return _change(scan, scan.some(), VOXELS)


def _change(scan: Scan, paths: list[Path], changes: dict[str, Callable[..., Array]]) -> str:
    name, seed = scan.one(sorted(changes)), int(scan.draw.integers(2**31))
    for path in paths:
        volume = load_volume(path)
        # every file in the same way
        data = changes[name](volume.data.copy(), np.random.default_rng(seed))
        save_volume(data, volume.affine, path)
    return f"{name} in {len(paths)} ({seed})"


def _block(data: Array, draw: Draw, value: Any) -> Array:
    size = int(draw.integers(1, 12))
    corner = [int(draw.integers(length - size)) for length in data.shape]
    data[tuple(slice(c, c + size) for c in corner)] = value
    return data


def _slice(data: Array, draw: Draw, change: Callable[[Array], Array]) -> Array:
    z = int(draw.integers(5, data.shape[2] - 5))
    data[..., z] = change(data[..., z - 1])
    return data


PHASE: dict[str, Callable[..., Array]] = {
    "negated": lambda data, draw: -data,
    "offset": lambda data, draw: wrap(data + np.float32(draw.uniform(-3, 3))),
    "scaled": lambda data, draw: data * np.float32(draw.choice([0.1, 0.5, 0.9, 1.5, 2])),
    "noisy": lambda data, draw: wrap(data + draw.normal(0, 10 ** draw.uniform(-2, 0.5),
                                                        data.shape).astype("f4")),
    "clipped": lambda data, draw: np.clip(data, -draw.uniform(0.5, 3), draw.uniform(0.5, 3)),
    "degrees": lambda data, draw: data * 57.3,
    "12 bit": lambda data, draw: np.round(data * 4095 / np.pi).astype("i2"),
    "coarse": lambda data, draw: np.round(data / 0.5) * np.float32(0.5),
    "ramp": lambda data, draw: wrap(data + np.linspace(0, draw.uniform(1, 20), len(data),
                                                       dtype="f4")[:, None, None]),
    "slices turned": lambda data, draw: data * np.resize([1, -1], data.shape[2]).astype("f4"),
    "slices off by pi": lambda data, draw: wrap(data + np.resize([0, np.pi], data.shape[2]
                                                                 ).astype("f4")),
    "constant": lambda data, draw: np.full_like(data, draw.uniform(-3, 3)),
}  # fmt: skip
MAGNITUDE: dict[str, Callable[..., Array]] = {
    "scaled": lambda data, draw: data * np.float32(10 ** draw.uniform(-2, 2)),
    "negated": lambda data, draw: -data,
    "noisy": lambda data, draw: np.abs(data + draw.normal(0, data.max() * 10 ** draw.uniform(-2, 0),
                                                          data.shape)).astype("f4"),
    "spikes": lambda data, draw: np.where(draw.random(data.shape) < 1e-4, data * 1e6, data),
    "inverse": lambda data, draw: data.max() - data,
    "saturated": lambda data, draw: np.minimum(data, np.float32(data.max() * draw.uniform(0.1, 1))),
    "logarithm": lambda data, draw: np.log1p(np.abs(data)),
}  # fmt: skip
VOXELS: dict[str, Callable[..., Array]] = {
    "block of NaN": lambda data, draw: _block(data, draw, np.nan),
    "block of infinity": lambda data, draw: _block(data, draw, np.inf),
    "block of 0": lambda data, draw: _block(data, draw, 0),
    "block of 1e30": lambda data, draw: _block(data, draw, 1e30),
    "slice of 0": lambda data, draw: _slice(data, draw, np.zeros_like),
    "slice twice": lambda data, draw: _slice(data, draw, np.array),
    "shuffled": lambda data, draw: draw.permuted(data, axis=int(draw.integers(3))),
}
PLACES: dict[str, Callable[..., Array]] = {
    "moved": lambda data, draw: np.roll(data, draw.integers(-6, 7, 3), (0, 1, 2)),
    "mirrored": lambda data, draw: np.flip(data, int(draw.integers(3))),
}

KINDS: tuple[Callable[[Scan], str], ...] = (
    *(field_value, field_factor, field_gone, sidecar_bytes, header_bytes, affine),
    *(file_damage, file_exchange, phase_of_echoes, magnitude_of_echoes, voxels),
)


class Corridor:
    """The steps of the app in this process, without figures."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.options = parse_options(["in", "out", "participant", "--segmentation", "none"])

    def __call__(self, scan: Acquisition) -> tuple[Array, set[str]]:
        """Map of a scan, and the names of its warnings and errors.

        Raises
        ------
        RuntimeError
            With the message that a user gets.
        """
        output = self.folder / "out"
        workflow = init_run_wf(
            acquisitions=[scan],
            settings=self.options.settings,
            resources=self.options.resources,
            output_dir=output,
            work_dir=self.folder / "work",
            run_uuid="run",
            contents=Contents(self.folder / "checksums.json"),
        )
        scan_wf = workflow.get_node(workflow_name(scan))
        scan_wf.remove_nodes([scan_wf.get_node("figures")])
        try:
            workflow.run(plugin="Linear")
        except Exception as error:
            told = failed_scans(output, [scan], "run")
            raise RuntimeError(told.get(scan.name, f"no message: {error!r}")) from error
        summary = summary_path(output, scan)
        flags = {f.name for f in read_record(summary).flags if f.severity != "info"}
        return load_volume(next(output.rglob("*_Chimap.nii.gz"))).data, flags


def same_numbers(scan: Acquisition, sound: Acquisition) -> bool:
    """Whether everything that the steps take is equal, so that the map is."""
    facts = ("echo_times_s", "field_strength_t", "phase_units", "manufacturer", "flags")
    if any(getattr(scan, fact) != getattr(sound, fact) for fact in facts):
        return False
    pairs = [(scan.magnitude_files, sound.magnitude_files), (scan.phase_files, sound.phase_files)]
    try:
        stacks = [(load_stack(ours), load_stack(theirs)) for ours, theirs in pairs]
    except DataError:
        return False
    return all(
        np.array_equal(a.data, b.data) and np.array_equal(a.affine, b.affine) for a, b in stacks
    )


def _refused(message: str, names: str) -> tuple[str, str]:
    """Expect one line, which names a file unless its class does."""
    return ("refused" if names in message and "\n" not in message else "CRASHED"), message


def outcome(
    dataset: Path, folder: Path, sound: Acquisition, sound_map: Array, sound_flags: set[str]
) -> tuple[str, str]:
    """Tell what the app does about a dataset, and its message, flags or change of the map."""
    try:
        query = find_acquisitions(dataset)
    except IsduError as error:
        return "refused", str(error)
    if query.problems:
        return _refused(query.problems[0].message, f"{dataset}/")
    (scan,) = query.acquisitions
    if same_numbers(scan, sound):
        return "harmless", "the same numbers"
    try:
        chi, flags = Corridor(folder)(scan)
    except RuntimeError as error:
        is_ours = issubclass(error_class(str(error)), DataError)
        return _refused(str(error), "" if is_ours else f"{dataset}/")
    change = float(np.linalg.norm(chi - sound_map) / np.linalg.norm(sound_map))
    if more := flags - sound_flags:
        return "flagged", f"{100 * change:.1f} %: {', '.join(sorted(more))}"
    return ("harmless" if change <= HARMLESS else "SILENT"), f"{100 * change:.1f} %"


def rows(numbers: Sequence[int], seed: int) -> Iterator[tuple[int, str, str, str, str]]:
    """Yield number, kind, fault, outcome and details of every fault."""
    with tempfile.TemporaryDirectory() as root:
        original = Path(root, "sound")
        write_head(original)
        prepare_environment(Path(root), omp_nthreads=1, verbosity=0)
        logging.disable()  # tracebacks of expected errors
        (sound,) = find_acquisitions(original).acquisitions
        sound_map, sound_flags = Corridor(Path(root, "reference"))(sound)
        print("the sound scan:", *sorted(sound_flags) or ["no flag"], file=sys.stderr)
        for number in numbers:
            folder = Path(root, "damaged")
            dataset = folder / "bids"
            shutil.copytree(original, dataset)
            draw = np.random.default_rng([seed, number])
            kind = KINDS[number % len(KINDS)]
            fault = kind(Scan(dataset, draw))
            found = outcome(dataset, folder, sound, sound_map, sound_flags)
            yield number, kind.__name__, fault, found[0], found[1].replace(f"{dataset}/", "")
            shutil.rmtree(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("-n", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="number of the first fault")
    parser.add_argument("--only", type=int, nargs="+", help="numbers of faults")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, help="TSV of all faults")
    options = parser.parse_args()
    found = []
    numbers = options.only or range(options.first, options.first + options.n)
    for row in rows(numbers, options.seed):
        found.append(row)
        print(*row, sep="\t", flush=True)
    if options.output:
        write_text(options.output, "".join("\t".join(map(str, row)) + "\n" for row in found))
    table = pd.DataFrame(found, columns=["number", "fault", "what", "outcome", "details"])
    counts = pd.crosstab(table["fault"], table["outcome"], margins=True)
    print("", to_markdown(counts.reset_index().astype(str)), sep="\n")


if __name__ == "__main__":
    main()
