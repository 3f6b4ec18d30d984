"""isdu-bids: quantitative susceptibility mapping with ISDU-QSMNet, as a BIDS App.

``from isdu_bids import invert`` turns a local field into susceptibility.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isdu_bids.inversion.invert import invert as invert

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import `invert` when it is asked for: it needs PyTorch, the command line's help does not."""
    if name == "invert":
        from isdu_bids.inversion.invert import invert

        return invert
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
