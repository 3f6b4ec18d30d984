"""Dipole inversions and references of the susceptibility, by name.

An inversion takes tensors ``(x, y, z)``: the local field, ``field_ppm`` (or, in its place, the
total field, ``total_field_ppm``), and ``mask``; it returns the susceptibility in ppm, zero outside
the mask and not yet referenced. `VOLUMES` and `SCALARS` are all that it may ask for.
"""

from __future__ import annotations

from isdu_bids.networks.registry import ISDU
from isdu_bids.registry import Method, Parameter, Registry

#: Volumes an inversion may take; ``magnitude`` is the root of the sum of squares of the echoes.
VOLUMES = ("field_ppm", "total_field_ppm", "mask", "magnitude", "field_sd_ppm", "r2star_per_s")
#: Facts of the scan an inversion may take.
SCALARS = ("voxel_size_mm", "b0_direction", "field_strength_t", "echo_times_s")

_LOCAL = ("field_ppm", "mask", "voxel_size_mm", "b0_direction")

INVERSION = Registry(
    "inversion",
    ISDU,
    Method(
        "tkd",
        "isdu_bids.inversion.direct:tkd",
        "thresholded k-space division with correction of the underestimation",
        "10.1002/mrm.22135",
        inputs=_LOCAL,
        parameters=(
            Parameter("threshold", 0.15, "least |D| by which the field is divided", minimum=0),
        ),
        linear=True,
    ),
    Method(
        "l2",
        "isdu_bids.inversion.direct:l2",
        "gradient-regularised least squares in closed form",
        "10.1002/jmri.24365",
        inputs=_LOCAL,
        parameters=(Parameter("weight", 3e-3, "weight of the gradient", "mm^2", minimum=0),),
        linear=True,
    ),
    default="isdu",
)

#: Each returns the voxels whose mean susceptibility is set to zero.
REFERENCE = Registry(
    "reference",
    Method(
        "whole-mask",
        "isdu_bids.inversion.referencing:whole_mask",
        "whole mask",
        "10.1002/mrm.30006",
        inputs=("mask",),
    ),
    Method(
        "csf",
        "isdu_bids.inversion.referencing:csf_region",
        "ventricular CSF",
        "10.1002/mrm.30006 10.1002/mrm.26946",
        inputs=("r2star_per_s", "mask", "voxel_size_mm"),
    ),
    none="the map stays as the inversion gives it",
    default="whole-mask",
)
