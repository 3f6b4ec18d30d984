"""Where a map of susceptibility loses accuracy, from raw phase to chi, step by step.

    python benchmarks/chain.py DATASET [--background NAME ...] [--inversion NAME ...] [-o TSV]

DATASET is a BIDS dataset of simulated scans with their truth below ``derivatives``: as
``isdu-qsm simulate``, `chain_heads.py` or the tool qsm-forward write it. Every scan goes through
the steps of the app with its defaults (mask, field, trusted mask, background, inversion), and each
step is compared with the truth inside the true brain, as a whole and by depth from its rim:

==============  ====================================================================================
total           error of the total field, in % of the standard deviation of the local field
total smooth    its part that is smooth over 8 mm, outliers clipped
sd ratio        true over stated standard deviation of the total field's error (by the median)
local           error of the local field (%)
cross-talk      change of a pure local field by the background method, in % of the local field
leak            rest of a pure background, in % of the local field
chi             NRMSE (%) of chi after each background and inversion
==============  ====================================================================================

*valid* is the part of the true brain that the method keeps; *whole* is all of it, voxels that are
not kept counting as zero. Methods take parameters: ``--inversion isdu:weights=FILE tkd``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from scipy import ndimage

from isdu_bids.background.registry import BACKGROUND
from isdu_bids.evaluation.metrics import nrmse_percent
from isdu_bids.evaluation.tables import to_markdown
from isdu_bids.geometry import Triple, b0_direction, voxel_size_mm
from isdu_bids.images import load_stack, load_volume
from isdu_bids.inversion.registry import INVERSION
from isdu_bids.inversion.result import Inverted
from isdu_bids.masking.registry import MASKS
from isdu_bids.masking.trusted import trusted_mask
from isdu_bids.phase.mapping import FieldMap, map_field
from isdu_bids.phase.romeo import voxel_quality
from isdu_bids.units import hz_to_ppm

Volume = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Local = tuple[Volume, Mask]
Row = tuple[str, str, str, str, float]

COLUMNS = ("quantity", "background", "inversion", "region", "value")
#: Distance from the rim of the true brain, mm.
DEPTHS_MM = (0, 4, 8, 16, np.inf)
SMOOTH_MM = 8.0
TRUE_FIELD = "none (true local field)"


@dataclass(frozen=True)
class Head:
    """A scan, and what it was made from: fields and chi in ppm, and parts of the brain by name."""

    name: str
    phase: Volume
    magnitude: Volume
    echo_times_s: list[float]
    tesla: float
    affine: npt.NDArray[np.float64]
    brain: Mask
    chi: Volume
    total: Volume
    local: Volume
    regions: dict[str, Mask]
    geometry: dict[str, Triple]

    def relative(self, error: Volume, where: Mask) -> float:
        """Give the standard deviation of an error in % of that of the local field."""
        return float(100 * error[where].std() / self.local[where].std())


def load_head(scan: Path, truth: Path) -> Head:
    name = scan.name
    sidecars = [json.loads(f.read_text()) for f in sorted(scan.glob("anat/*_part-phase_*.json"))]
    tesla = sidecars[0]["MagneticFieldStrength"]
    brain = load_volume(truth / "anat" / f"{name}_desc-brain_mask.nii.gz")

    def field(ours: str, theirs: str) -> Volume:
        """Ours is in Hz, that of qsm-forward in ppm."""
        if (truth / "fmap").exists():
            return hz_to_ppm(load_volume(truth / "fmap" / f"{name}_{ours}.nii.gz").data, tesla)
        return load_volume(truth / "anat" / f"{name}_{theirs}.nii.gz").data

    inside = brain.data > 0
    size_mm = voxel_size_mm(brain.affine)
    depth = ndimage.distance_transform_edt(inside, size_mm)
    shells = {f"{a:g}-{b:g} mm": (depth > a) & (depth <= b) for a, b in pairwise(DEPTHS_MM)}
    return Head(
        name=name,
        phase=load_stack(sorted(scan.glob("anat/*_part-phase_*.nii.gz"))).data,
        magnitude=load_stack(sorted(scan.glob("anat/*_part-mag_*.nii.gz"))).data,
        echo_times_s=[sidecar["EchoTime"] for sidecar in sidecars],
        tesla=tesla,
        affine=brain.affine,
        brain=inside,
        chi=load_volume(truth / "anat" / f"{name}_Chimap.nii.gz").data,
        total=field("desc-total_fieldmap", "desc-shimmed_fieldmap"),
        local=field("desc-local_fieldmap", "fieldmap-local"),
        regions={"brain": inside, **shells},
        geometry={"voxel_size_mm": size_mm, "b0_direction": b0_direction(brain.affine)},
    )


def map_total(head: Head) -> tuple[FieldMap, Mask]:
    """Total field, and where it is trusted."""
    everywhere = np.ones(head.brain.shape, bool)
    inputs = {
        "magnitude": head.magnitude,
        "quality": voxel_quality(head.phase, head.magnitude, head.echo_times_s, everywhere),
        "affine": head.affine,
        **head.geometry,
    }
    mask = MASKS.run(MASKS.default, inputs)
    fit = map_field(head.phase, head.magnitude, head.echo_times_s, mask, **head.geometry)
    return fit, trusted_mask(mask, fit.quality)


def total_rows(head: Head, total: Volume, sd: Volume, mask: Mask) -> Iterator[Row]:
    inside = head.brain & mask
    error = total - head.total
    error = np.where(inside, error - np.median(error[inside]), 0)
    # a few voxels at the rim, half air, are no smooth error
    limit = 3 * robust_sd(error[inside])
    sigma = [SMOOTH_MM / size for size in head.geometry["voxel_size_mm"]]
    blurred, share = (
        ndimage.gaussian_filter(volume.astype(np.float32), sigma)
        for volume in (np.clip(error, -limit, limit), inside)
    )
    smooth = blurred / np.maximum(share, 1e-6)
    for region, where in head.regions.items():
        where = where & inside
        yield "total", "", "", region, head.relative(error, where)
        yield "total smooth", "", "", region, head.relative(smooth, where)
        yield "sd ratio", "", "", region, robust_sd(error[where] / sd[where])


def robust_sd(values: Volume) -> float:
    """Give the standard deviation about 0 of a normal variable of this median size."""
    return float(np.median(np.abs(values)) / 0.6745)


def local_rows(
    head: Head, name: str, measured: Local, remove: Callable[[Volume], Local]
) -> Iterator[Row]:
    local, valid = measured
    inside = head.brain & valid
    yield "coverage", name, "", "brain", float(100 * inside.sum() / head.brain.sum())
    yield "local", name, "", "whole", nrmse_percent(local, head.local, head.brain)
    changed, _ = remove(head.local)
    leaked, _ = remove(head.total - head.local)
    for region, where in head.regions.items():
        where = where & inside
        if where.any():
            yield "local", name, "", region, head.relative(local - head.local, where)
            yield "cross-talk", name, "", region, head.relative(changed - head.local, where)
            yield "leak", name, "", region, head.relative(leaked, where)


def chi_rows(head: Head, name: str, inversion: str, chi: Volume, valid: Mask) -> Iterator[Row]:
    inside = head.brain & valid
    chi = np.where(inside, chi - chi[inside].mean(), 0)
    yield "chi", name, inversion, "valid", nrmse_percent(chi, head.chi, inside)
    yield "chi", name, inversion, "whole", nrmse_percent(chi, head.chi, head.brain)
    for region, where in head.regions.items():
        if region != "brain" and (where & inside).any():
            yield "chi", name, inversion, region, nrmse_percent(chi, head.chi, where & inside)


def score(head: Head, backgrounds: list[str], inversions: list[str]) -> Iterator[Row]:
    start = time.process_time()
    fit, mask = map_total(head)
    yield "CPU s", "", "", "mask and field", time.process_time() - start
    total, sd = hz_to_ppm(fit.field_hz, head.tesla), hz_to_ppm(fit.field_sd_hz, head.tesla)
    yield from total_rows(head, total, sd, mask)
    scan: dict[str, Any] = {
        "field_sd_ppm": torch.from_numpy(sd),
        "total_field_ppm": torch.from_numpy(total),
        "magnitude": torch.from_numpy(np.linalg.norm(head.magnitude, axis=0)),
        "field_strength_t": head.tesla,
        "echo_times_s": head.echo_times_s,
        **head.geometry,
    }

    def with_field(field: Volume, inside: Mask) -> dict[str, Any]:
        return scan | {"field_ppm": torch.from_numpy(field), "mask": torch.from_numpy(inside)}

    def remove(name: str, field: Volume, inside: Mask) -> Local:
        local = BACKGROUND.run(name, with_field(field, inside))
        return local.field_ppm.numpy(), local.mask.numpy()

    def invert(name: str, local: Volume, valid: Mask) -> Iterator[Row]:
        for inversion in inversions:
            found = Inverted.of(INVERSION.run(inversion, with_field(local, valid)))
            yield from chi_rows(head, name, inversion, found.chi_ppm.numpy(), valid)

    inside = head.brain & mask
    yield from invert(TRUE_FIELD, head.local * inside, inside)
    for name in backgrounds:
        start = time.process_time()
        measured = remove(name, total, mask)
        yield "CPU s", name, "", "background", time.process_time() - start
        yield from local_rows(
            head, name, measured, lambda field, name=name: remove(name, field, inside)
        )
        yield from invert(name, *measured)


def print_tables(table: pd.DataFrame) -> None:
    """One table per quantity, a column per head."""
    for quantity, part in table.groupby("quantity", sort=False):
        keys = [key for key in ("background", "inversion", "region") if part[key].any()]
        part = part.assign(row=part[keys].agg(" / ".join, axis=1))
        wide = part.pivot(index="row", columns="head", values="value").reindex(part["row"].unique())
        wide = wide.map("{:.2f}".format if quantity == "sd ratio" else "{:.1f}".format)
        print(f"\n{quantity}\n\n{to_markdown(wide)}", end="")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--background", nargs="*", default=list(BACKGROUND), metavar="NAME")
    parser.add_argument("--inversion", nargs="*", default=list(INVERSION), metavar="NAME")
    parser.add_argument("--subject", nargs="*", metavar="sub-X", help="only these")
    parser.add_argument("-o", "--output", type=Path, default=Path("chain.tsv"))
    options = parser.parse_args()
    tables = []
    for truth in sorted(options.dataset.glob("derivatives/*/sub-*")):
        if options.subject and truth.name not in options.subject:
            continue
        print(truth.name, file=sys.stderr, flush=True)
        head = load_head(options.dataset / truth.name, truth)
        rows = pd.DataFrame(score(head, options.background, options.inversion), columns=COLUMNS)
        tables.append(rows.assign(head=head.name))
        pd.concat(tables).to_csv(options.output, sep="\t", index=False, float_format="%.5g")
    print_tables(pd.concat(tables))


if __name__ == "__main__":
    main()
