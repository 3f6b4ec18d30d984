"""Quality measures in words: what each is, what a good scan gives, what it means, what to do."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from math import isfinite
from typing import Any

import yaml


@dataclass(frozen=True)
class Description:
    """A measure as a reader sees it.

    Attributes
    ----------
    label
        What it is.
    unit
        Of the shown value, which is ``scale`` times the stored one; empty: a pure number.
    digits
        Decimals; None: as many as make three figures.
    usual
        Range of good scans of healthy adults in the shown unit; None: not a matter of quality.
    meaning, remedy
        What it says, and what to do where it is out of its range.
    """

    label: str
    unit: str = ""
    scale: float = 1.0
    digits: int | None = None
    usual: tuple[float, float] | None = None
    meaning: str = ""
    remedy: str = ""

    def shown(self, value: float | None) -> str:
        """Value with its unit.

        Examples
        --------
        >>> describe("eroded_coverage_fraction").shown(0.857), describe("chi_mean_ppm").shown(1e-11)
        ('85.7 %', '0.0000 ppm')
        """
        if value is None or not isfinite(value):
            return "could not be measured"
        return f"{self.number(value * self.scale)} {self.unit}".strip()

    def shown_range(self) -> str:
        """Usual range with its unit; empty where there is none."""
        if self.usual is None:
            return ""
        low, high = (f"{limit:g}" for limit in self.usual)
        return f"{low} to {high} {self.unit}".strip() if low != high else f"{low} {self.unit}"

    def is_usual(self, value: float | None) -> bool:
        """Whether a value is known and in its usual range, or there is no range."""
        if self.usual is None:
            return True
        if value is None or not isfinite(value):
            return False
        low, high = self.usual
        return low <= value * self.scale <= high

    def number(self, value: float) -> str:
        """Round without an exponent and without a negative zero."""
        if self.digits is not None:
            text = f"{value:.{self.digits}f}"
        else:
            whole = len(str(int(abs(value))))
            text = f"{value:.{max(0, 3 - whole)}f}"
            text = text.rstrip("0").rstrip(".") if "." in text else text
        return text.lstrip("-") if float(text) == 0 else text


def describe(name: str) -> Description:
    """Describe a measure by its name; one that is not known has its name for a label.

    Examples
    --------
    >>> describe("snr_echo2").label, describe("region_coverage_ventral_dc").label
    ('Signal-to-noise ratio of echo 2', 'Part of ventral dc that the map covers')
    """
    for pattern, description in _descriptions().items():
        if found := pattern.fullmatch(name):
            words = {key: value.replace("_", " ") for key, value in found.groupdict().items()}
            return replace(description, label=description.label.format(**words))
    return Description(name.replace("_", " "))


@cache
def _descriptions() -> dict[re.Pattern[str], Description]:
    text = (files("isdu_bids") / "data" / "measures.yml").read_text(encoding="utf-8")
    content: dict[str, dict[str, Any]] = yaml.safe_load(text)
    return {
        re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>.+)", name)): Description(
            **fields | ({"usual": tuple(fields["usual"])} if "usual" in fields else {})
        )
        for name, fields in content.items()
    }
