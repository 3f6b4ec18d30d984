"""Families of inversion networks by name: what recipes train and weights files hold.

A network of any family is made from a frozen dataclass that it keeps as ``architecture``, and is
called with ``(field_ppm, mask, kernel, field_sd_ppm)``, as `unrolled.ISDUQSMNet.forward`; it may
ignore what it has no use for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from isdu_bids.networks.unrolled import Architecture, ISDUQSMNet


@dataclass(frozen=True)
class Family:
    """What a network is made from, and the network."""

    architecture: type[Any]
    network: type[nn.Module]


DEFAULT_FAMILY = "isdu"

FAMILIES: Mapping[str, Family] = {
    DEFAULT_FAMILY: Family(Architecture, ISDUQSMNet),
}


def build_network(architecture: Any) -> nn.Module:
    """Untrained network of an architecture of any family."""
    return FAMILIES[family_of(architecture)].network(architecture)


def family_of(architecture: Any) -> str:
    """Name of the family that an architecture belongs to.

    Examples
    --------
    >>> family_of(Architecture())
    'isdu'
    """
    return next(name for name, f in FAMILIES.items() if f.architecture is type(architecture))
