"""Compare regional susceptibility of a finished run on simulated scans with the truth.

    python benchmarks/simulated_regions.py OUTPUT TRUTH

TRUTH holds ``sub-X/anat/sub-X_{Chimap,dseg}``, FreeSurfer's labels. Means are taken inside the
eroded mask and relative to it, in ppb: of the truth in its own region, of the map in the true
region (error of the map alone), of the map in the labelled region (what a user gets).
"""

import sys
from pathlib import Path

import numpy as np

from isdu_bids import images
from isdu_bids.evaluation.metrics import dice
from isdu_bids.segmentation.labels import SYNTHSEG_LABELS, label_name


def main(output: Path, truth: Path) -> None:
    """Print one table per subject, and correlation and bias over its regions."""
    for folder in sorted(truth.glob("sub-*")):
        own = output / folder.name / "anat" / folder.name
        true = folder / "anat" / folder.name
        inside = images.load_volume(f"{own}_desc-eroded_mask.nii.gz").data > 0
        chi, true_chi = (
            1000 * (volume - volume[inside].mean())
            for volume in (images.load_volume(f"{s}_Chimap.nii.gz").data for s in (own, true))
        )
        (dseg,) = own.parent.glob(f"{own.name}_seg-*_dseg.nii.gz")
        labels = images.load_volume(dseg).data
        true_labels = images.load_volume(f"{true}_dseg.nii.gz").data
        print(f"\n{folder.name}\nregion\tDice\ttruth\tmap, true labels\tmap, own labels")
        rows = []
        for label in SYNTHSEG_LABELS[1:]:
            region, found = true_labels == label, labels == label
            if (region & inside).sum() < 20 or not (found & inside).any():
                continue
            means = [v[r & inside].mean() for v, r in
                     ((true_chi, region), (chi, region), (chi, found))]  # fmt: skip
            rows.append(means)
            cells = (f"{dice(region, found):.2f}", *(f"{mean:.1f}" for mean in means))
            print(label_name(label), *cells, sep="\t")
        table = np.array(rows)
        for name, column in (("true labels", 1), ("own labels", 2)):
            r = np.corrcoef(table[:, 0], table[:, column])[0, 1]
            bias = (table[:, column] - table[:, 0]).mean()
            fit = np.polyfit(table[:, 0], table[:, column], 1)[0]
            print(f"{name}: r {r:.2f}, slope {fit:.2f}, bias {bias:+.1f} ppb, {len(table)} regions")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
