"""Dipole inversions by name.

Each takes ``(field_ppm, mask, *, voxel_size_mm, b0_direction, **parameters)``, tensors
``(x, y, z)``, and returns the susceptibility in ppm, zero outside the mask and not yet referenced.
"""

from __future__ import annotations

from isdu_bids.registry import Method, Registry

DEFAULT = "isdu"

INVERSION = Registry(
    "inversion",
    Method(
        "isdu",
        "isdu_bids.networks.inference:isdu",
        "ISDU-QSMNet, an unrolled network whose iteration-specific denoisers alternate with "
        "dipole data consistency in closed form",
        "vaddadi2025",
    ),
    Method(
        "tkd",
        "isdu_bids.inversion.direct:tkd",
        "thresholded k-space division with correction of the underestimation",
        "10.1002/mrm.22135",
        {"threshold": 0.15},
    ),
    Method(
        "l2",
        "isdu_bids.inversion.direct:l2",
        "gradient-regularised least squares in closed form",
        "10.1002/jmri.24365",
        {"weight": 3e-3},
    ),
)
