"""Background field removal: from the total field in a mask to the field of the sources inside."""

from isdu_bids.background.registry import BACKGROUND

__all__ = ["BACKGROUND"]
