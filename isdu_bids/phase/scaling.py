"""TEMPORARY file of the lead for integration: the owner of isdu_bids/phase overwrites it."""
from __future__ import annotations
from dataclasses import dataclass
import numpy as np
@dataclass(frozen=True)
class PhaseScaling:
    name: str
    slope: float
    intercept: float
    reason: str
    flags: tuple[str, ...] = ()
    def to_radians(self, values):
        return (values * self.slope + self.intercept).astype(np.float32)
def decide_phase_scaling(values, *, stored_dtype=None, units=None, manufacturer=None):
    return PhaseScaling("rad", 1.0, 0.0, "temporary")
def explicit_scaling(lo, hi):
    return PhaseScaling("explicit", 2 * np.pi / (hi - lo), 0.0, "temporary")
