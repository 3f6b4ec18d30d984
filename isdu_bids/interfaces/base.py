"""What the interfaces share: volumes and notes written into a node's working directory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from nipype.interfaces.base import BaseInterfaceInputSpec, SimpleInterface, traits

from isdu_bids.files import write_text
from isdu_bids.images import save_volume


def combined_magnitude(echoes: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Root of the sum of squares over the echoes ``(echo, x, y, z)``."""
    combined: npt.NDArray[Any] = np.sqrt((echoes**2).sum(axis=0))
    return combined


class MethodInput(BaseInterfaceInputSpec):
    """A method of a registry, as `isdu_bids.workflows.corridor.Corridor.method` gives it."""

    method = traits.Str(mandatory=True)
    parameters = traits.Dict(traits.Str, traits.Any, desc="all of them, files found")
    checksums = traits.Dict(
        traits.Str, traits.Str, desc="of the files, so that others in the same place count as new"
    )


class FilesInput(BaseInterfaceInputSpec):
    """Files of the user, as `isdu_bids.workflows.corridor.Corridor.files` gives them."""

    contents = traits.Dict(
        traits.Str, traits.Str, desc="SHA-256, so that others in the same place count as new"
    )


@dataclass
class Notes:
    """What a step has to say to the report, the methods text and the sidecars.

    Attributes
    ----------
    sentences
        Pairs of a sentence for the methods text and the DOI it rests on ("" for none).
    flags
        What a reader must know before using the numbers.
    summary
        Facts for the report, by name.
    """

    sentences: list[tuple[str, str]] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def merged(cls, files: Iterable[str | Path]) -> Notes:
        """Join the notes of several steps in their order."""
        total = cls()
        for file in files:
            content = json.loads(Path(file).read_text())
            total.sentences += [(text, doi) for text, doi in content["sentences"]]
            total.flags += content["flags"]
            total.summary |= content["summary"]
        return total


class Step(SimpleInterface):
    """A node whose results are NIfTI volumes and notes."""

    def _save(self, runtime: Any, affine: npt.ArrayLike, **volumes: npt.NDArray[Any]) -> None:
        for name, volume in volumes.items():
            path = Path(runtime.cwd) / f"{name}.nii"
            stack_last = np.moveaxis(volume, 0, -1) if volume.ndim == 4 else volume
            self._results[name] = str(save_volume(stack_last, affine, path))

    def _note(
        self,
        runtime: Any,
        sentences: Sequence[tuple[str, str]] = (),
        flags: Sequence[str] = (),
        **summary: Any,
    ) -> None:
        path = Path(runtime.cwd) / "notes.json"
        notes = Notes(list(sentences), list(flags), summary)
        self._results["notes"] = str(write_text(path, json.dumps(asdict(notes), indent=1)))
