"""Anatomical labels: FreeSurfer's numbers and names, left and right, merged regions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Side = Literal["left", "right", "midline"]


@dataclass(frozen=True)
class Region:
    """A labelled structure, as a row of a BIDS ``dseg.tsv``.

    Attributes
    ----------
    label
        FreeSurfer's number.
    name
        FreeSurfer's name, as in ``Left-Putamen``.
    side
        Hemisphere; ``midline`` for structures that are not split.
    mirror
        Label of the same structure on the other side; its own where there are no sides.
    colour
        Of figures, ``#rrggbb``; empty if the structure has none of its own.
    """

    label: int
    name: str
    side: Side
    mirror: int
    colour: str = ""


_MIDLINE: tuple[tuple[int, str, str], ...] = (
    (0, "Background", "#000000"),
    (14, "3rd-Ventricle", "#ccb68e"),
    (15, "4th-Ventricle", "#2acca4"),
    (16, "Brain-Stem", "#779fb0"),
    (24, "CSF", "#3c3c3c"),
)

_SIDED: tuple[tuple[int, int, str, str], ...] = (
    (2, 41, "Cerebral-White-Matter", "#f5f5f5"),
    (3, 42, "Cerebral-Cortex", "#cd3e4e"),
    (4, 43, "Lateral-Ventricle", "#781286"),
    (5, 44, "Inf-Lat-Vent", "#c43afa"),
    (7, 46, "Cerebellum-White-Matter", "#dcf8a4"),
    (8, 47, "Cerebellum-Cortex", "#e69422"),
    (10, 49, "Thalamus", "#00760e"),
    (11, 50, "Caudate", "#7abadc"),
    (12, 51, "Putamen", "#ec0db0"),
    (13, 52, "Pallidum", "#0c30ff"),
    (17, 53, "Hippocampus", "#dcd814"),
    (18, 54, "Amygdala", "#67ffff"),
    (26, 58, "Accumbens-area", "#ffa500"),
    (28, 60, "VentralDC", "#a52a2a"),
)

#: What FreeSurfer's segmentations hold beside SynthSeg's: (label, mirror, name).
_FURTHER: tuple[tuple[int, int, str], ...] = (
    (25, 57, "Left-Lesion"), (57, 25, "Right-Lesion"),
    (30, 62, "Left-vessel"), (62, 30, "Right-vessel"),
    (31, 63, "Left-choroid-plexus"), (63, 31, "Right-choroid-plexus"),
    (78, 79, "Left-WM-hypointensities"), (79, 78, "Right-WM-hypointensities"),
    (72, 72, "5th-Ventricle"), (77, 77, "WM-hypointensities"), (80, 80, "non-WM-hypointensities"),
    (85, 85, "Optic-Chiasm"), (251, 251, "CC_Posterior"), (252, 252, "CC_Mid_Posterior"),
    (253, 253, "CC_Central"), (254, 254, "CC_Mid_Anterior"), (255, 255, "CC_Anterior"),
)  # fmt: skip

#: Cortical parcels of Desikan and Killiany; label 1000 + n on the left, 2000 + n on the right.
_PARCELS: dict[int, str] = {
    1: "bankssts",
    2: "caudalanteriorcingulate",
    3: "caudalmiddlefrontal",
    5: "cuneus",
    6: "entorhinal",
    7: "fusiform",
    8: "inferiorparietal",
    9: "inferiortemporal",
    10: "isthmuscingulate",
    11: "lateraloccipital",
    12: "lateralorbitofrontal",
    13: "lingual",
    14: "medialorbitofrontal",
    15: "middletemporal",
    16: "parahippocampal",
    17: "paracentral",
    18: "parsopercularis",
    19: "parsorbitalis",
    20: "parstriangularis",
    21: "pericalcarine",
    22: "postcentral",
    23: "posteriorcingulate",
    24: "precentral",
    25: "precuneus",
    26: "rostralanteriorcingulate",
    27: "rostralmiddlefrontal",
    28: "superiorfrontal",
    29: "superiorparietal",
    30: "superiortemporal",
    31: "supramarginal",
    32: "frontalpole",
    33: "temporalpole",
    34: "transversetemporal",
    35: "insula",
}


def _table() -> dict[int, Region]:
    regions = [Region(label, name, "midline", label, colour) for label, name, colour in _MIDLINE]
    for left, right, name, colour in _SIDED:
        regions.append(Region(left, f"Left-{name}", "left", right, colour))
        regions.append(Region(right, f"Right-{name}", "right", left, colour))
    for label, mirror, name in _FURTHER:
        side: Side = "left" if name.startswith("Left") else "midline"
        regions.append(Region(label, name, "right" if name.startswith("Right") else side, mirror))
    for parcel, name in _PARCELS.items():
        left, right = 1000 + parcel, 2000 + parcel
        regions.append(Region(left, f"ctx-lh-{name}", "left", right))
        regions.append(Region(right, f"ctx-rh-{name}", "right", left))
    return {region.label: region for region in sorted(regions, key=lambda region: region.label)}


#: Every known structure by label, in numeric order.
REGIONS: dict[int, Region] = _table()

#: Channels of SynthSeg 2.0, of 1.0 (which has no CSF), and of the cortical parcellation.
SYNTHSEG_LABELS: tuple[int, ...] = tuple(
    sorted([label for label, *_ in _MIDLINE] + [label for pair in _SIDED for label in pair[:2]])
)
SYNTHSEG1_LABELS: tuple[int, ...] = tuple(label for label in SYNTHSEG_LABELS if label != 24)
PARC_LABELS: tuple[int, ...] = (0, *(label for label in REGIONS if label > 1000))

#: Thalamus, caudate, putamen and pallidum, left and right.
DEEP_NUCLEI = (10, 11, 12, 13, 49, 50, 51, 52)

#: Cerebral cortex, which the parcellation divides.
CORTEX: tuple[int, int] = (3, 42)


def _groups() -> dict[str, tuple[int, ...]]:
    pairs = {name: (left, right) for left, right, name, _ in _SIDED}
    grey, white = pairs["Cerebral-Cortex"], pairs["Cerebral-White-Matter"]
    paper = {
        "Caudate": pairs["Caudate"],
        "Putamen": pairs["Putamen"],
        "Pallidum": pairs["Pallidum"],
        "Left-White-Matter": white[:1],
        "Right-White-Matter": white[1:],
        "Left-Grey-Matter": grey[:1],
        "Right-Grey-Matter": grey[1:],
    }
    return paper | pairs


#: Merged regions: the seven that the ISDU-QSMNet paper reports, then every pair of sides.
GROUPS: dict[str, tuple[int, ...]] = _groups()


def _scored() -> dict[str, tuple[int, ...]]:
    left = {
        "white_matter": (2, 11, 26, 28),
        "grey_matter": (3,),
        "fluid": (4, 5, 14, 15),
        "cerebellum": (7, 8),
        "brain_stem": (16,),
        "thalamus": (10,),
        "putamen_pallidum": (12, 13),
        "hippocampus_amygdala": (17, 18),
    }
    return {
        name: tuple(sorted({*labels, *(REGIONS[label].mirror for label in labels)}))
        for name, labels in left.items()
    }


#: What SynthSeg scores, in the order of its channels. Caudate, accumbens and ventral DC
#: count as white matter.
SCORED: dict[str, tuple[int, ...]] = _scored()


def named_region(label: int, name: str) -> Region:
    """Region of a label by the name that somebody gives it; without a side unless it is ours.

    Examples
    --------
    >>> named_region(10, "Left-Thalamus-Proper").side, named_region(10, "red nucleus").side
    ('left', 'midline')
    """
    own = REGIONS.get(label)
    if own is not None and name.removesuffix("-Proper").lower() == own.name.lower():
        return own
    return Region(label, name, "midline", label)


def label_name(label: int) -> str:
    """Name of a label; of an unknown one ``label-<number>``.

    Examples
    --------
    >>> label_name(52), label_name(999)
    ('Right-Pallidum', 'label-999')
    """
    return REGIONS[label].name if label in REGIONS else f"label-{label}"


def mirrored(label: int) -> int:
    """Label of the same structure on the other side.

    Examples
    --------
    >>> mirrored(2), mirrored(41), mirrored(16), mirrored(1035)
    (41, 2, 16, 2035)
    """
    return REGIONS[label].mirror if label in REGIONS else label


def mirrored_channels(labels: Sequence[int]) -> list[int]:
    """Order of channels that exchanges left and right: channel c holds ``mirrored(labels[c])``.

    Examples
    --------
    >>> mirrored_channels((0, 2, 16, 41))
    [0, 3, 2, 1]
    """
    return [list(labels).index(mirrored(label)) for label in labels]
