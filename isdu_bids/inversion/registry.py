"""Dipole inversions and references of the susceptibility, by name.

An inversion takes tensors ``(x, y, z)``: the local field, ``field_ppm`` (or, in its place, the
total field, ``total_field_ppm``), and ``mask``; it returns the susceptibility in ppm, zero outside
the mask and not yet referenced, as a tensor or, with the end of its iteration, as
`isdu_bids.inversion.result.Inverted`. `VOLUMES` and `SCALARS` are all that it may ask for.
"""

from __future__ import annotations

from isdu_bids.networks.registry import ISDU
from isdu_bids.registry import Method, Parameter, Registry

#: Volumes an inversion may take; ``magnitude`` is the root of the sum of squares of the echoes.
VOLUMES = ("field_ppm", "total_field_ppm", "mask", "magnitude", "field_sd_ppm", "r2star_per_s")
#: Facts of the scan an inversion may take.
SCALARS = ("voxel_size_mm", "b0_direction", "field_strength_t", "echo_times_s")

_LOCAL = ("field_ppm", "mask", "voxel_size_mm", "b0_direction")
_TOTAL = ("total_field_ppm", "mask", "voxel_size_mm", "b0_direction")
_PHASE = ("field_strength_t", "echo_times_s")
_WEIGHTED = ("magnitude", "field_sd_ppm")


def _penalty(default: float, unit: str = "ppm mm") -> Parameter:
    return Parameter("penalty", default, "weight of the absolute gradient", unit, minimum=0)


def _stop(tolerance: float, iterations: int) -> tuple[Parameter, Parameter]:
    return (
        Parameter("tolerance", tolerance, "relative change at which to stop", minimum=0),
        Parameter("iterations", iterations, "largest number of iterations", minimum=1),
    )


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
    Method(
        "tsvd",
        "isdu_bids.inversion.least_squares:tsvd",
        "k-space division that leaves out what the dipole nearly extinguishes",
        "10.1002/mrm.22334",
        inputs=_LOCAL,
        parameters=(Parameter("threshold", 0.15, "least |D| that is kept", minimum=0),),
        linear=True,
    ),
    Method(
        "tikhonov",
        "isdu_bids.inversion.least_squares:tikhonov",
        "gradient-regularised least squares as smooth as the noise of the field asks for",
        "10.1002/jmri.24365",
        inputs=_LOCAL,
        optional=("field_sd_ppm",),
        parameters=(
            Parameter("weight", None, "weight of the gradient", "mm^2", kind=float, minimum=0),
        ),
    ),
    Method(
        "tv",
        "isdu_bids.inversion.total_variation:tv",
        "total variation with weighted data",
        "10.1002/mrm.25029 10.1002/mrm.27073",
        inputs=_LOCAL,
        optional=_WEIGHTED,
        parameters=(_penalty(1e-4), *_stop(1e-2, 50)),
    ),
    Method(
        "nltv",
        "isdu_bids.inversion.total_variation:nltv",
        "total variation with weighted nonlinear data, which ignores leftover phase wraps",
        "10.1002/mrm.27073",
        inputs=(*_LOCAL, *_PHASE),
        optional=_WEIGHTED,
        parameters=(_penalty(1e-4), *_stop(1e-2, 50)),
    ),
    Method(
        "medi",
        "isdu_bids.inversion.total_variation:medi",
        "morphology-enabled inversion: sparse gradients except at edges of the magnitude",
        "10.1016/j.neuroimage.2011.08.082 10.1002/mrm.24272",
        inputs=(*_LOCAL, *_PHASE, "magnitude"),
        optional=("field_sd_ppm",),
        parameters=(
            _penalty(1e-4),
            Parameter("edge_fraction", 0.3, "share of differences that are edges", minimum=0),
            *_stop(1e-2, 50),
        ),
    ),
    Method(
        "l1",
        "isdu_bids.inversion.total_variation:l1",
        "total variation with absolute misfits, which bad voxels do not dominate",
        "10.1002/mrm.28957",
        inputs=_LOCAL,
        optional=_WEIGHTED,
        parameters=(_penalty(0.06, "mm"), *_stop(1e-2, 100)),
    ),
    Method(
        "rts",
        "isdu_bids.inversion.rts:rts",
        "rapid two-step inversion",
        "10.1016/j.neuroimage.2017.11.018",
        inputs=_LOCAL,
        optional=_WEIGHTED,
        parameters=(
            Parameter("threshold", 0.15, "least |D| that the first step settles", minimum=0),
            Parameter("first_iterations", 16, "iterations of the first step", minimum=1),
            *_stop(1e-2, 20),
        ),
    ),
    Method(
        "ndi",
        "isdu_bids.inversion.ndi:ndi",
        "nonlinear dipole inversion by gradient descent",
        "10.1002/nbm.4271",
        inputs=(*_LOCAL, *_PHASE),
        optional=_WEIGHTED,
        parameters=(
            Parameter("damping", 0.0, "weight of the squared susceptibility", minimum=0),
            Parameter("iterations", 20, "iterations; few are smooth", minimum=1),
        ),
    ),
    Method(
        "weak-harmonic",
        "isdu_bids.inversion.weak_harmonic:weak_harmonic",
        "total variation with a harmonic remainder of the background as a second unknown",
        "10.1002/mrm.27483",
        inputs=_LOCAL,
        optional=_WEIGHTED,
        parameters=(
            _penalty(1e-4),
            Parameter("harmonic_penalty", 150.0, "weight of the remainder's Laplacian", minimum=0),
            *_stop(1e-3, 150),
        ),
    ),
    Method(
        "tfi",
        "isdu_bids.inversion.tfi:tfi",
        "total field inversion: sources outside are found together with the susceptibility",
        "10.1002/mrm.26331",
        inputs=_TOTAL,
        optional=_WEIGHTED,
        parameters=(_penalty(1e-4), *_stop(1e-3, 300)),
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
