"""Susceptibility of head tissues, relative to water-like tissue (ppm).

Means and spreads follow the literature on healthy adults at 3 T; a simulation draws each region's
mean anew, because a network must not learn one head's values.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Tissue:
    """A group of FreeSurfer-style labels that share a susceptibility distribution.

    Attributes
    ----------
    name
        Of the group.
    labels
        Label values that belong to it (left and right are drawn separately).
    chi_mean_ppm, chi_sd_ppm
        Mean over heads, and spread between heads.
    texture_sd_ppm
        Spread inside a region.
    """

    name: str
    labels: tuple[int, ...]
    chi_mean_ppm: float
    chi_sd_ppm: float
    texture_sd_ppm: float


BRAIN: tuple[Tissue, ...] = (
    Tissue("white matter", (2, 41), -0.012, 0.010, 0.014),
    Tissue("white matter lesion", (25, 57, 77), 0.010, 0.015, 0.014),
    Tissue("cerebellar white matter", (7, 46), -0.012, 0.010, 0.012),
    Tissue("cerebral cortex", (3, 42), 0.006, 0.010, 0.018),
    Tissue("cerebellar cortex", (8, 47), 0.006, 0.010, 0.014),
    Tissue("ventricles", (4, 5, 14, 15, 43, 44, 72, 136, 137, 163, 164), 0.005, 0.010, 0.008),
    Tissue("cerebrospinal fluid", (24,), 0.005, 0.010, 0.010),
    Tissue("thalamus", (10, 49), 0.005, 0.012, 0.014),
    Tissue("caudate", (11, 50), 0.045, 0.020, 0.014),
    Tissue("putamen", (12, 51), 0.050, 0.025, 0.020),
    Tissue("pallidum", (13, 52), 0.135, 0.040, 0.030),
    Tissue("brain stem", (16,), -0.010, 0.012, 0.014),
    Tissue("hippocampus and amygdala", (17, 18, 53, 54), -0.005, 0.010, 0.012),
    Tissue("accumbens", (26, 58), 0.020, 0.020, 0.014),
    Tissue("ventral diencephalon", (28, 60), 0.020, 0.020, 0.020),
    Tissue("vessel and choroid plexus", (30, 31, 62, 63), 0.080, 0.050, 0.020),
    Tissue("optic chiasm", (85,), -0.010, 0.010, 0.008),
)

#: Label groups in which small iron-rich nuclei lie that label maps lack (ppm, lowest and highest).
IRON_RICH: dict[str, tuple[tuple[int, ...], tuple[float, float]]] = {
    "red nucleus and substantia nigra": ((28, 60), (0.05, 0.20)),
    "dentate nucleus": ((7, 46), (0.04, 0.15)),
}

#: Where more iron than the region's mean gathers with age and in neurodegeneration.
PALLIDUM_IRON: tuple[tuple[int, ...], tuple[float, float]] = ((13, 52), (0.15, 0.40))

#: Other than brain; susceptibility relative to tissue water, ppm (air 9.4 above it).
HEAD: tuple[Tissue, ...] = (
    Tissue("air", (0,), 9.4, 0.0, 0.0),
    Tissue("bone", (515, 516), -2.1, 0.2, 0.1),
    Tissue("fat and skin", (511,), 0.6, 0.1, 0.05),
    Tissue("soft tissue", (507, 508, 509, 512, 530), 0.0, 0.02, 0.02),
    Tissue("eye", (506,), 0.0, 0.01, 0.0),
    Tissue("venous sinus", (514,), 0.15, 0.03, 0.01),
    Tissue("artery", (502,), -0.02, 0.02, 0.01),
)


def label_names(labels: Iterable[int]) -> dict[int, str]:
    """Name of each label, by its tissue and side.

    Examples
    --------
    >>> label_names([13, 52, 16])
    {13: 'left pallidum', 52: 'right pallidum', 16: 'brain stem'}
    """
    tissues = {label: tissue.name for tissue in (*BRAIN, *HEAD) for label in tissue.labels}
    names = {}
    for label in labels:
        side = "left " if label in _LEFT else "right " if 40 < label < 64 else ""
        names[label] = side + tissues.get(label, f"label {label}")
    return names


_LEFT = {*range(2, 14), 17, 18, 25, 26, 28, 30, 31}


@dataclass(frozen=True)
class Signal:
    """Gradient-echo signal of a tissue at 3 T: relative density, R2* without iron, T1."""

    density: float
    r2star_per_s: float
    t1_s: float


#: By tissue name; every other tissue is like grey matter.
SIGNALS: dict[str, Signal] = {
    "air": Signal(0.0, 50.0, 1.0),
    "bone": Signal(0.08, 300.0, 0.3),
    "fat and skin": Signal(0.90, 40.0, 0.38),
    "soft tissue": Signal(0.65, 35.0, 1.2),
    "white matter": Signal(0.70, 19.0, 0.85),
    "cerebellar white matter": Signal(0.70, 19.0, 0.85),
    "brain stem": Signal(0.72, 19.0, 1.0),
    "thalamus": Signal(0.82, 15.0, 1.15),
    "pallidum": Signal(0.82, 15.0, 0.95),
    "ventral diencephalon": Signal(0.82, 15.0, 1.0),
    "ventricles": Signal(1.0, 1.5, 4.2),
    "cerebrospinal fluid": Signal(1.0, 2.0, 4.2),
    "eye": Signal(1.0, 2.0, 4.0),
    "venous sinus": Signal(0.85, 60.0, 1.8),
}
GREY_MATTER_SIGNAL = Signal(0.82, 15.0, 1.33)

#: Relaxation that iron adds: R2* rises with |chi| (1/s per ppm at 3 T).
R2STAR_PER_PPM = 125.0
