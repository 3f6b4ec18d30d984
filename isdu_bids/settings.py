"""What a run does, as frozen dataclasses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Settings:
    """How each scan is processed: the choices that a methods section reports.

    Attributes
    ----------
    phase_range
        Lowest and highest value of one turn of the stored phase; None decides from nominal ranges.
    b0_direction
        Unit vector in voxel axes; None takes the sidecar's ``B0_dir`` or else the affine.
    offset, unwrapping, combination
        Field mapping (`isdu_bids.phase`).
    mask, synthstrip_weights
        Brain mask where the user gives none (`isdu_bids.masking`), and file or folder of
        SynthStrip's official weights.
    background
        Background field removal (`isdu_bids.background`).
    two_pass
        Invert reliable voxels alone, and fill in the others from a second pass over all.
    relaxation
        Fit of R2*: ``auto``, or a method of `isdu_bids.phase.relaxation`.
    phase_sign
        ``auto`` turns a phase whose sign is clearly reversed; ``keep`` and ``turn`` do as told.
    inversion, weights, weights_iterations
        Dipole inversion (`isdu_bids.inversion`), name or path of the network's weights, and K
        where the weights file does not store it.
    grid, precision
        Grid that the network runs on, and precision of its denoisers (docs/inference.md).
    uncertainty
        Whether to write the standard deviation of the susceptibility.
    segmentation, synthseg_weights
        Network that labels the regions (`isdu_bids.segmentation`), and file or folder of SynthSeg's
        official weights.
    reference
        Region whose mean susceptibility is set to zero.
    output_spaces
        Templates in whose space maps are written too (`isdu_bids.template.spaces`).
    device
        ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    """

    phase_range: tuple[float, float] | None = None
    b0_direction: tuple[float, float, float] | None = None
    offset: str = "auto"
    unwrapping: str = "romeo"
    combination: str = "phase_snr"
    mask: str = "combined"
    synthstrip_weights: Path | None = None
    background: str = "jdf"
    relaxation: str = "auto"
    phase_sign: str = "auto"
    two_pass: bool = False
    inversion: str = "isdu"
    weights: str = "isdu_k4"
    weights_iterations: int | None = None
    grid: str = "auto"
    precision: str = "single"
    uncertainty: bool = False
    segmentation: str = "auto"
    synthseg_weights: Path | None = None
    reference: str = "whole-mask"
    output_spaces: tuple[str, ...] = ()
    device: str = "auto"


@dataclass(frozen=True)
class Resources:
    """What a run may use.

    Attributes
    ----------
    n_procs
        Processes that run steps at the same time.
    omp_nthreads
        Threads of each.
    memory_gb
        Memory of all together; None takes 90 % of the machine's.
    """

    n_procs: int = 1
    omp_nthreads: int = 1
    memory_gb: float | None = None


def from_options(kind: type[Any], options: Mapping[str, Any]) -> Any:
    """Build a settings dataclass from the options that it knows."""
    known = {field.name for field in fields(kind)}
    return kind(
        **{
            name: tuple(value) if isinstance(value, list) else value
            for name, value in options.items()
            if name in known
        }
    )
