"""Names of output spaces; nothing is looked up here, so that the command line is instant."""

from __future__ import annotations

import re
from dataclasses import dataclass

from isdu_bids.errors import UsageError

#: The grid of the scan, on which maps are always written.
NATIVE = "gre"

#: TemplateFlow's human heads that have a T1-weighted image and a brain mask by resolution.
TEMPLATES = (
    "MNI152Lin",
    "MNI152NLin2009aAsym",
    "MNI152NLin2009aSym",
    "MNI152NLin2009cAsym",
    "MNI152NLin2009cSym",
    "MNI152NLin6Asym",
    "MNI152NLin6Sym",
    "NKI",
    "OASIS30ANTs",
    "PNC",
)


@dataclass(frozen=True)
class OutputSpace:
    """A template and the grid on it.

    Attributes
    ----------
    template
        One of `TEMPLATES`.
    resolution
        TemplateFlow's number of the grid; None takes the first, 1 mm, without saying so in names.
    """

    template: str
    resolution: int | None = None

    def __str__(self) -> str:
        return self.template + (f":res-{self.resolution}" if self.resolution else "")

    @property
    def entities(self) -> dict[str, str]:
        """What the names of its files add to those of the scan."""
        grid = {"res": str(self.resolution)} if self.resolution else {}
        return {"space": self.template, **grid}

    @classmethod
    def parse(cls, text: str) -> OutputSpace:
        """Read ``TEMPLATE`` or ``TEMPLATE:res-N``.

        Examples
        --------
        >>> OutputSpace.parse("MNI152NLin2009cAsym:res-02")
        OutputSpace(template='MNI152NLin2009cAsym', resolution=2)

        Raises
        ------
        UsageError
            If there is no such template, or no such modifier.
        """
        template, colon, modifier = text.partition(":")
        if template not in TEMPLATES:
            raise UsageError(
                f"{text!r} is no output space; known: {', '.join((NATIVE, *TEMPLATES))}"
            )
        resolution = re.fullmatch(r"res-0*([1-9]\d*)", modifier)
        if colon and resolution is None:
            raise UsageError(f"{text!r}: write the resolution as {template}:res-2")
        return cls(template, int(resolution[1]) if resolution else None)


def parse_spaces(texts: tuple[str, ...]) -> tuple[OutputSpace, ...]:
    """Read the template spaces among output spaces.

    Examples
    --------
    >>> [str(space) for space in parse_spaces(("gre", "NKI:res-1"))]
    ['NKI:res-1']

    Raises
    ------
    UsageError
        For a wrong name, or a template that is named twice: it has one transform.
    """
    spaces = tuple(OutputSpace.parse(text) for text in texts if text != NATIVE)
    if len({space.template for space in spaces}) < len(spaces):
        raise UsageError("--output-spaces: name each template once, at one resolution")
    return spaces
