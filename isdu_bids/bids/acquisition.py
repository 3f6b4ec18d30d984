"""One scan to process: its files, echo times, field and the parameters that go into sidecars.

Importing this module is cheap: no PyBIDS, Nipype or torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isdu_bids.bids.names import SCAN_ENTITIES, build_name


class Metadata(Mapping[str, Any]):
    """Read-only mapping of sidecar fields; unlike ``mappingproxy`` it can be pickled.

    Its ``repr`` is that of a dict: Nipype hashes node inputs by it.
    """

    def __init__(self, items: Mapping[str, Any] | None = None) -> None:
        self._items = dict(sorted((items or {}).items()))

    def __getitem__(self, key: str) -> Any:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return repr(self._items)


@dataclass(frozen=True)
class Acquisition:
    """A checked gradient-echo scan: each echo has magnitude and phase, or real and imaginary part.

    Attributes
    ----------
    subject, session, acquisition, reconstruction, run
        Labels as in the file names (``run`` keeps its zeros), without their keys.
    suffix, datatype
        E.g. ``MEGRE`` in ``anat``.
    magnitude_files, phase_files, real_files, imag_files
        Absolute paths in echo order; a 4D file is one path. Either the first two or the last two
        are filled.
    echo_times_s
        Increasing, in seconds, one per echo.
    field_strength_t
        B0 in tesla, from the imaging frequency where it is known.
    phase_units
        ``Units`` of the phase sidecars, or None; ``rad`` for real and imaginary part.
    manufacturer
        As in the sidecar, or None.
    mask_file, dseg_file
        The user's brain mask and segmentation on the grid of the scan, or None.
    flags
        Short names of what is odd about the metadata.
    metadata
        Sidecar fields that are the same in all files of the scan.
    """

    subject: str
    session: str | None = None
    acquisition: str | None = None
    reconstruction: str | None = None
    run: str | None = None
    suffix: str = "MEGRE"
    datatype: str = "anat"
    magnitude_files: tuple[Path, ...] = ()
    phase_files: tuple[Path, ...] = ()
    real_files: tuple[Path, ...] = ()
    imag_files: tuple[Path, ...] = ()
    echo_times_s: tuple[float, ...] = ()
    field_strength_t: float = field(kw_only=True)
    phase_units: str | None = None
    manufacturer: str | None = None
    mask_file: Path | None = None
    dseg_file: Path | None = None
    flags: tuple[str, ...] = ()
    metadata: Metadata = field(default_factory=Metadata, hash=False)

    @property
    def entities(self) -> dict[str, str]:
        """Entities of the scan by their short keys, e.g. ``{"sub": "01", "run": "1"}``."""
        labels = (self.subject, self.session, self.acquisition, self.reconstruction, self.run)
        return {key: label for key, label in zip(SCAN_ENTITIES, labels, strict=True) if label}

    @property
    def name(self) -> str:
        """E.g. ``sub-01_ses-1_acq-x_rec-y_run-1``: what names of outputs and workflows start with.

        Examples
        --------
        >>> Acquisition("01", run="02", field_strength_t=3.0).name
        'sub-01_run-02'
        """
        return build_name(self.entities)

    @property
    def source_files(self) -> tuple[Path, ...]:
        """All images of the scan."""
        return self.magnitude_files + self.phase_files + self.real_files + self.imag_files
