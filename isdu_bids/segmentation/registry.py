"""Networks that label the regions, by name; each loads one, as a `loading.LoadedNetwork`."""

from __future__ import annotations

from isdu_bids.registry import Method, Parameter, Registry

_WEIGHTS = Parameter(
    "weights",
    None,
    "SynthSeg's official .h5 file or its folder; none: $FREESURFER_HOME/models",
    kind=str,
    option="--synthseg-weights",
)


_SCORE_NET = Parameter(
    "score_net",
    None,
    "file of the network that scores the labels; none: beside the weights",
    kind=str,
)

SEGMENTATION = Registry(
    "segmentation network",
    Method(
        "synthseg",
        "isdu_bids.segmentation.loading:load_official",
        "SynthSeg, with FreeSurfer's weights",
        "10.1016/j.media.2023.102789",
        parameters=(_WEIGHTS, _SCORE_NET),
        locate="isdu_bids.segmentation.locating:locate_synthseg",
    ),
    Method(
        "robust",
        "isdu_bids.segmentation.loading:load_robust",
        "its robust variant, with FreeSurfer's weights",
        "10.1073/pnas.2216399120",
        parameters=(_WEIGHTS, _SCORE_NET),
        locate="isdu_bids.segmentation.locating:locate_robust",
    ),
    Method(
        "small",
        "isdu_bids.segmentation.loading:load_small",
        "the preliminary network of this package",
        "10.1016/j.media.2023.102789",
        parameters=(
            Parameter("weights", None, "own file of such a network; none: packaged", kind=str),
            Parameter(
                "nuclei",
                None,
                "own file of a network that sees the deep nuclei in magnitude and susceptibility; "
                "none: packaged, unless weights are given",
                kind=str,
            ),
        ),
        locate="isdu_bids.segmentation.locating:locate_small",
    ),
    # a network that is preliminary must not come by default: its regional values look right
    auto=Method(
        "auto",
        "isdu_bids.segmentation.locating:official_if_found",
        "synthseg where its weights are found, else none",
        "",
        parameters=(_WEIGHTS,),
    ),
    none="regions are not labelled",
    default="auto",
)


def sees_susceptibility(method: Method) -> bool:
    """Whether a network of the method looks at the susceptibility too."""
    return "nuclei" in method.defaults
