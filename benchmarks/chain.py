"""Where a map of susceptibility loses accuracy, from raw phase to chi, step by step.

    python benchmarks/chain.py DATASET [--weights NAME|PATH ...] [--background NAME ...] [-o TSV]

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
not kept counting as zero.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from scipy import ndimage

from isdu_bids.background import BACKGROUND
from isdu_bids.evaluation.metrics import nrmse_percent
from isdu_bids.evaluation.tables import to_markdown
from isdu_bids.geometry import Triple, b0_direction, voxel_size_mm
from isdu_bids.images import load_stack, load_volume
from isdu_bids.inversion.registry import INVERSION
from isdu_bids.masking.masks import MASKS
from isdu_bids.masking.trusted import trusted_mask
from isdu_bids.networks.weights import load_weights
from isdu_bids.phase.mapping import FieldMap, map_field
from isdu_bids.phase.romeo import voxel_quality
from isdu_bids.settings import Settings
from isdu_bids.units import hz_to_ppm

Volume = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Row = tuple[str, str, str, str, float]

COLUMNS = ("quantity", "background", "inversion", "region", "value")
#: Distance from the rim of the true brain, mm.
DEPTHS_MM = (0, 4, 8, 16, np.inf)
SMOOTH_MM = 8.0


@dataclass(frozen=True)
class Truth:
    """A scan and what it was made from; fields in ppm."""

    name: str
    folder: Path
    raw: Path

    @cached_property
    def affine(self) -> npt.NDArray[np.float64]:
        return load_volume(self._file("desc-brain_mask")).affine

    @cached_property
    def geometry(self) -> dict[str, Triple]:
        return {
            "voxel_size_mm": voxel_size_mm(self.affine),
            "b0_direction": b0_direction(self.affine),
        }

    @cached_property
    def sidecars(self) -> list[dict[str, float]]:
        files = sorted(self.raw.glob("anat/*_part-phase_MEGRE.json"))
        return [json.loads(file.read_text()) for file in files]

    @property
    def echo_times_s(self) -> list[float]:
        return [sidecar["EchoTime"] for sidecar in self.sidecars]

    def echoes(self, part: str) -> Volume:
        return load_stack(sorted(self.raw.glob(f"anat/*_part-{part}_MEGRE.nii.gz"))).data

    def in_ppm(self, volume: Volume) -> Volume:
        return hz_to_ppm(volume, self.sidecars[0]["MagneticFieldStrength"])

    @cached_property
    def brain(self) -> Mask:
        return load_volume(self._file("desc-brain_mask")).data > 0

    @cached_property
    def chi(self) -> Volume:
        return load_volume(self._file("Chimap")).data

    @cached_property
    def total(self) -> Volume:
        return self._field("desc-total_fieldmap", "desc-shimmed_fieldmap")

    @cached_property
    def local(self) -> Volume:
        return self._field("desc-local_fieldmap", "fieldmap-local")

    def _field(self, ours: str, theirs: str) -> Volume:
        """Ours is in Hz, that of qsm-forward in ppm."""
        if (self.folder / "fmap").exists():
            return self.in_ppm(load_volume(self._file(ours, "fmap")).data)
        return load_volume(self._file(theirs)).data

    def _file(self, name: str, kind: str = "anat") -> Path:
        return self.folder / kind / f"{self.name}_{name}.nii.gz"

    @cached_property
    def regions(self) -> dict[str, Mask]:
        """The brain, and its shells by depth."""
        depth = ndimage.distance_transform_edt(self.brain, self.geometry["voxel_size_mm"])
        shells = {
            f"{low:g}-{high:g} mm": (depth > low) & (depth <= high)
            for low, high in zip(DEPTHS_MM[:-1], DEPTHS_MM[1:], strict=True)
        }
        return {"brain": self.brain, **shells}

    def relative(self, error: Volume, where: Mask) -> float:
        """Standard deviation of an error, in % of that of the local field."""
        return float(100 * error[where].std() / self.local[where].std())


def heads(dataset: Path) -> Iterator[Truth]:
    for folder in sorted(dataset.glob("derivatives/*/sub-*")):
        yield Truth(folder.name, folder, dataset / folder.name)


def map_total(head: Truth, settings: Settings) -> tuple[FieldMap, Mask]:
    """Total field, and where it is trusted."""
    phase, magnitude = head.echoes("phase"), head.echoes("mag")
    quality = voxel_quality(phase, magnitude, head.echo_times_s, np.ones(head.brain.shape, bool))
    mask = MASKS[settings.mask](
        magnitude,
        quality=quality,
        voxel_size_mm=head.geometry["voxel_size_mm"],
        affine=head.affine,
    )
    fit = map_field(
        phase,
        magnitude,
        head.echo_times_s,
        mask,
        **head.geometry,
        unwrapping=settings.unwrapping,
        combination=settings.combination,
    )
    return fit, trusted_mask(mask, fit.quality)


def total_rows(head: Truth, total: Volume, sd: Volume, mask: Mask) -> Iterator[Row]:
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
    """Standard deviation about 0 of a normal variable, from the median of the absolute value."""
    return float(np.median(np.abs(values)) / 0.6745)


def local_rows(
    head: Truth,
    name: str,
    measured: tuple[Volume, Mask],
    remove: Callable[..., tuple[Volume, Mask]],
) -> Iterator[Row]:
    local, valid = measured
    inside = head.brain & valid
    yield "coverage", name, "", "brain", float(100 * inside.sum() / head.brain.sum())
    yield "local", name, "", "whole", nrmse_percent(local, head.local, head.brain)
    changed, _ = remove(head.local)
    leaked, _ = remove(head.total - head.local)
    for region, where in head.regions.items():
        where = where & inside
        if where.sum() > 1:
            yield "local", name, "", region, head.relative(local - head.local, where)
            yield "cross-talk", name, "", region, head.relative(changed - head.local, where)
            yield "leak", name, "", region, head.relative(leaked, where)


def chi_rows(head: Truth, name: str, inversion: str, chi: Volume, valid: Mask) -> Iterator[Row]:
    inside = head.brain & valid
    chi = np.where(inside, chi - chi[inside].mean(), 0)
    yield "chi", name, inversion, "valid", nrmse_percent(chi, head.chi, inside)
    yield "chi", name, inversion, "whole", nrmse_percent(chi, head.chi, head.brain)
    for region, where in head.regions.items():
        if region != "brain" and (where & inside).sum() > 1:
            yield "chi", name, inversion, region, nrmse_percent(chi, head.chi, where & inside)


def score(
    head: Truth, backgrounds: list[str], inversions: dict[str, Callable[..., torch.Tensor]]
) -> Iterator[Row]:
    start = time.process_time()
    fit, mask = map_total(head, Settings())
    yield "CPU s", "", "", "mask and field", time.process_time() - start
    total, sd = head.in_ppm(fit.field_hz), head.in_ppm(fit.field_sd_hz)
    yield from total_rows(head, total, sd, mask)
    everywhere = head.brain & mask

    def remove(field: Volume, mask: Mask, name: str) -> tuple[Volume, Mask]:
        tensors = (torch.from_numpy(np.ascontiguousarray(v)) for v in (field, mask))
        local = BACKGROUND[name](*tensors, **head.geometry, field_sd_ppm=torch.from_numpy(sd))
        return local.field_ppm.numpy(), local.mask.numpy()

    def invert(name: str, local: Volume, valid: Mask) -> Iterator[Row]:
        fields = torch.from_numpy(local), torch.from_numpy(valid)
        for inversion, method in inversions.items():
            chi = method(*fields, **head.geometry, **network_noise(inversion, sd)).numpy()
            yield from chi_rows(head, name, inversion, chi, valid)

    yield from invert("none (true local field)", head.local * everywhere, everywhere)
    for name in backgrounds:
        start = time.process_time()
        measured = remove(total, mask, name)
        yield "CPU s", name, "", "background", time.process_time() - start
        yield from local_rows(head, name, measured, partial(remove, mask=everywhere, name=name))
        yield from invert(name, *measured)


def network_noise(inversion: str, sd: Volume) -> dict[str, torch.Tensor]:
    """Networks may take the standard deviation of the field; classical methods do not."""
    return {} if inversion in INVERSION else {"field_sd_ppm": torch.from_numpy(sd)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--weights", nargs="*", default=["isdu_k4"], metavar="NAME|PATH")
    parser.add_argument("--background", nargs="*", choices=BACKGROUND, default=list(BACKGROUND))
    parser.add_argument("--inversion", nargs="*", choices=INVERSION, default=["tkd", "l2"])
    parser.add_argument("--subject", nargs="*", metavar="sub-X", help="only these")
    parser.add_argument("-o", "--output", type=Path, default=Path("chain.tsv"))
    options = parser.parse_args()
    inversions: dict[str, Callable[..., torch.Tensor]] = {
        f"isdu {Path(name).stem}": partial(INVERSION["isdu"], weights=load_weights(name))
        for name in options.weights
    }
    inversions |= {name: INVERSION[name] for name in options.inversion}
    tables = []
    for head in heads(options.dataset):
        if options.subject and head.name not in options.subject:
            continue
        print(head.name, file=sys.stderr, flush=True)
        rows = pd.DataFrame(score(head, options.background, inversions), columns=COLUMNS)
        tables.append(rows.assign(head=head.name))
        pd.concat(tables).to_csv(options.output, sep="\t", index=False, float_format="%.5g")
    print_tables(pd.concat(tables))


def print_tables(table: pd.DataFrame) -> None:
    """One table per quantity, a column per head."""
    for quantity, part in table.groupby("quantity", sort=False):
        keys = [key for key in ("background", "inversion", "region") if part[key].any()]
        part = part.assign(row=part[keys].agg(" / ".join, axis=1))
        wide = part.pivot(index="row", columns="head", values="value").reindex(part["row"].unique())
        wide = wide.map("{:.2f}".format if quantity == "sd ratio" else "{:.1f}".format)
        print(f"\n{quantity}\n\n{to_markdown(wide)}", end="")


if __name__ == "__main__":
    main()
