"""Background field removal: total field -> field of the sources inside the mask."""

from isdu_bids.background.registry import BACKGROUND, DEFAULT

__all__ = ["BACKGROUND", "DEFAULT"]
