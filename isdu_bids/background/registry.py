"""The background field removals by name.

Each takes the total field and its mask, ``field_ppm`` and ``mask`` of shape ``(x, y, z)``, and
returns a :class:`isdu_bids.background.local_field.LocalField`. Those that solve a least-squares
problem by conjugate gradients are linear as far as they iterate.
"""

from __future__ import annotations

from isdu_bids.registry import Method, Parameter, Registry

_VOXELS = ("field_ppm", "mask", "voxel_size_mm")
_DIPOLES = (*_VOXELS, "b0_direction")


def _radius(default: float) -> Parameter:
    text = "radius of the sphere; the mask loses as much at its rim"
    return Parameter("radius_mm", default, text, unit="mm", minimum=0)


def _threshold() -> Parameter:
    return Parameter("threshold", 0.05, "|1 - S| below which nothing is deconvolved", minimum=0)


def _margin() -> Parameter:
    return Parameter("margin_mm", 10.0, "room for sources around the mask", "mm", minimum=0)


def _solver(iterations: int, tolerance: float = 1e-3) -> tuple[Parameter, Parameter]:
    return (
        Parameter("tolerance", tolerance, "relative residual at which the solver stops", minimum=0),
        Parameter("iterations", iterations, "most steps of the solver", minimum=1),
    )


BACKGROUND = Registry(
    "background removal",
    Method(
        "vsharp",
        "isdu_bids.background.sharp:vsharp",
        "V-SHARP: spherical mean values with the largest radius that fits",
        "10.1016/j.neuroimage.2010.11.088",
        inputs=_VOXELS,
        parameters=(
            # those of the consensus recommendations
            Parameter("radii_mm", tuple(map(float, range(12, 0, -1))), "radii", "mm", minimum=0),
            _threshold(),
        ),
        linear=True,
    ),
    Method(
        "sharp",
        "isdu_bids.background.sharp:sharp",
        "SHARP: spherical mean values of one radius",
        "10.1016/j.neuroimage.2010.10.070",
        inputs=_VOXELS,
        parameters=(_radius(6.0), _threshold()),
        linear=True,
    ),
    Method(
        "resharp",
        "isdu_bids.background.resharp:resharp",
        "RESHARP: SHARP as a regularised least-squares problem",
        "10.1002/mrm.24765",
        inputs=_VOXELS,
        parameters=(
            _radius(6.0),
            Parameter("weight", 1e-4, "Tikhonov weight of the local field", minimum=0),
            *_solver(30),
        ),
        linear=True,
    ),
    Method(
        "ismv",
        "isdu_bids.background.harmonic:ismv",
        "iSMV: the harmonic field that agrees with the total field in a rim one radius thick",
        "10.1002/mrm.24998",
        inputs=_VOXELS,
        parameters=(_radius(5.0), *_solver(50)),
        linear=True,
    ),
    Method(
        "pdf",
        "isdu_bids.background.pdf:pdf",
        "PDF: projection onto the fields of dipoles outside the mask, weighted by field precision",
        "10.1002/nbm.1670",
        inputs=_DIPOLES,
        optional=("field_sd_ppm",),
        parameters=(_margin(), *_solver(60)),
        linear=True,
    ),
    Method(
        "lbv",
        "isdu_bids.background.harmonic:lbv",
        "LBV: the harmonic field that agrees with the total field in the outermost layer",
        "10.1002/nbm.3064",
        inputs=_VOXELS,
        parameters=(
            Parameter("peel", 1, "layers of voxels taken off the mask first", "voxels", minimum=0),
            *_solver(100),
        ),
        linear=True,
    ),
    Method(
        "jdf",
        "isdu_bids.background.jdf:jdf",
        "JDF: dipoles outside and inside the mask fitted together, after LBV, without outliers",
        "10.1002/mrm.26331",
        inputs=_DIPOLES,
        optional=("field_sd_ppm",),
        parameters=(
            Parameter("peel_mm", 2.0, "rim whose measured field is not used", "mm", minimum=0),
            Parameter("tissue_sd_ppm", 0.05, "spread of susceptibility inside", "ppm", minimum=0),
            Parameter("tissue_length_mm", 4.0, "its correlation length", "mm", minimum=0),
            Parameter("outside_sd_ppm", 0.5, "spread of susceptibility outside", "ppm", minimum=0),
            Parameter("noise_sd_ppm", 0.001, "least noise of the field", "ppm", minimum=0),
            _margin(),
            *_solver(15),
            Parameter("passes", 3, "fits; one takes every voxel as it is", minimum=1),
            Parameter("outlier_ppm", 0.05, "misfit of a voxel left out", "ppm", minimum=0),
        ),
    ),
    # best over the whole mask on most heads; see docs/background.md
    default="jdf",
)
