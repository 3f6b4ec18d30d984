"""Phase unwrapping methods by name.

Each takes ``(phase_rad, *, magnitude, mask, echo_times_s, voxel_size_mm)`` with echoes leading and
returns the unwrapped phase, 0 outside the mask.
"""

from __future__ import annotations

from isdu_bids.registry import Method, Registry

UNWRAPPING = Registry(
    "unwrapping",
    Method(
        "romeo",
        "isdu_bids.phase.romeo:unwrap_romeo",
        "ROMEO: region growing along the most reliable edges, in space and over echoes",
        "10.1002/mrm.28563",
        {"multi_echo": "template"},
    ),
    Method(
        "laplacian",
        "isdu_bids.phase.laplacian:unwrap_laplacian",
        "Laplacian: Poisson equation of the wrapped differences; no fringe lines, but not exact",
        "10.1364/OL.28.001194",
        {"exact": False},
    ),
    Method(
        "best_path",
        "isdu_bids.phase.best_path:unwrap_best_path",
        "Best path: voxels sorted by their second differences (scikit-image)",
        "10.1364/AO.46.006623",
    ),
)
