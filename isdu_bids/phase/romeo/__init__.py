"""ROMEO: rapid opensource minimum-spanning-tree phase unwrapping (doi:10.1002/mrm.28563)."""

from isdu_bids.phase.romeo.echoes import unwrap_romeo
from isdu_bids.phase.romeo.quality import voxel_quality

__all__ = ["unwrap_romeo", "voxel_quality"]
