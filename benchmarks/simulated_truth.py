"""Score a finished run on simulated scans against their truth: NRMSE (%), demeaned, in percent.

    python benchmarks/simulated_truth.py OUTPUT TRUTH

TRUTH holds ``sub-X/anat/sub-X_{Chimap,desc-shimmed_fieldmap,fieldmap-local,desc-brain_mask}``, all
in ppm, as the tool qsm-forward writes them. Every inversion that needs nothing else is run on
the local field of OUTPUT.
"""

import sys
from pathlib import Path

import torch

from isdu_bids import images
from isdu_bids.evaluation.metrics import dice, nrmse_percent, slope
from isdu_bids.geometry import b0_direction, voxel_size_mm
from isdu_bids.inversion.registry import INVERSION
from isdu_bids.inversion.result import Inverted
from isdu_bids.units import hz_to_ppm

FIELD_STRENGTH_T = 3.0


def main(output: Path, truth: Path) -> None:
    print("subject\tmap\tNRMSE_truth_mask\tNRMSE_valid_mask\tslope\tcoverage")
    for folder in sorted(truth.glob("sub-*")):
        subject = folder.name

        def load(name, root=folder / "anat", subject=subject):
            return images.load_volume(root / f"{subject}_{name}.nii.gz")

        brain = load("desc-brain_mask").data > 0
        valid = load("desc-eroded_mask", output / subject / "anat").data > 0
        mask = load("desc-brain_mask", output / subject / "anat").data > 0
        chi = load("Chimap", output / subject / "anat")
        fields = {
            key: load(f"desc-{key}_fieldmap", output / subject / "fmap")
            for key in ("total", "local")
        }
        coverage = (valid & brain).sum() / brain.sum()

        def row(name, estimate, reference, inside, subject=subject, brain=brain, coverage=coverage):
            scores = (
                nrmse_percent(estimate, reference, brain),
                nrmse_percent(estimate, reference, inside),
            )
            fit = slope(estimate, reference, inside)
            print(
                subject,
                name,
                *(f"{s:.2f}" for s in scores),
                f"{fit:.2f}",
                f"{coverage:.3f}",
                sep="\t",
            )

        total = hz_to_ppm(fields["total"].data, FIELD_STRENGTH_T)
        local = hz_to_ppm(fields["local"].data, FIELD_STRENGTH_T)
        row("total field", total, load("desc-shimmed_fieldmap").data, brain & valid)
        row("local field", local, load("fieldmap-local").data, brain & valid)
        row("chi of the run", chi.data, load("Chimap").data, brain & valid)
        scan = {
            "field_ppm": torch.from_numpy(local),
            "mask": torch.from_numpy(valid),
            "voxel_size_mm": voxel_size_mm(chi.affine),
            "b0_direction": b0_direction(chi.affine),
        }
        for name, method in INVERSION.items():
            if set(method.inputs) <= scan.keys():
                estimate = Inverted.of(method.run(scan)).chi_ppm.numpy()
                row(f"chi {name}", estimate, load("Chimap").data, brain & valid)
        print(subject, "brain mask", f"Dice {dice(mask, brain):.3f}", sep="\t")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
