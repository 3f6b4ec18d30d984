"""What a run does, as frozen dataclasses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from isdu_bids.registry import Choice


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How each scan is processed: the choices that a methods section reports.

    Attributes
    ----------
    offset, unwrapping, combination
        Field mapping, methods of `isdu_bids.phase.registry`.
    mask
        Brain mask where the user gives none (`isdu_bids.masking.registry`).
    background
        Background field removal (`isdu_bids.background.registry`).
    relaxation
        Fit of R2* (`isdu_bids.phase.registry`).
    inversion, reference
        Dipole inversion, and the region whose mean susceptibility is set to zero
        (`isdu_bids.inversion.registry`).
    segmentation
        Network that labels the regions (`isdu_bids.segmentation.registry`).
    phase_range
        Lowest and highest value of one turn of the stored phase; None decides from nominal ranges.
    b0_direction
        Unit vector in voxel axes; None takes the sidecar's ``B0_dir`` or else the affine.
    phase_sign
        ``auto`` turns a phase whose sign is clearly reversed; ``keep`` and ``turn`` do as told.
    two_pass
        Invert reliable voxels alone, and fill in the others from a second pass over all.
    uncertainty
        Whether to write the standard deviation of the susceptibility.
    output_spaces
        Templates in whose space maps are written too (`isdu_bids.template.spaces`).
    device
        ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    """

    offset: Choice
    unwrapping: Choice
    combination: Choice
    mask: Choice
    background: Choice
    relaxation: Choice
    inversion: Choice
    reference: Choice
    segmentation: Choice
    phase_range: tuple[float, float] | None = None
    b0_direction: tuple[float, float, float] | None = None
    phase_sign: str = "auto"
    two_pass: bool = False
    uncertainty: bool = False
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
        Threads of each; None gives each what scans running side by side leave it.
    memory_gb
        Memory of all together; None takes 90 % of the machine's.
    """

    n_procs: int = 1
    omp_nthreads: int | None = None
    memory_gb: float | None = None


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which scans of which dataset are processed, as the options of the same names say."""

    bids_dir: Path
    participant_label: tuple[str, ...] | None = None
    session_label: tuple[str, ...] | None = None
    bids_filter_file: Path | None = None
    bids_database_dir: Path | None = None
    skip_bids_validation: bool = False
    derivatives: tuple[str, ...] = ()
    mask_pattern: str | None = None


@dataclass(frozen=True, kw_only=True)
class Running:
    """Where a run writes and how it goes, as the options of the same names say."""

    output_dir: Path
    work_dir: Path
    analysis_level: str = "participant"
    use_plugin: Path | None = None
    stop_on_first_crash: bool = False
    reports_only: bool = False
    dry_run: bool = False
    verbose: int = 0


@dataclass(frozen=True)
class Options:
    """Everything that a command line asks for.

    Attributes
    ----------
    settings, resources, selection, running
        Its parts.
    record
        What a later run needs to give the same result, by the names of the options.
    """

    settings: Settings
    resources: Resources
    selection: Selection
    running: Running
    record: Mapping[str, Any]


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
