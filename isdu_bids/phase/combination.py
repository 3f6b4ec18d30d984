"""Echo combination methods by name.

Each takes ``(unwrapped_rad, magnitude, echo_times_s, mask)`` with echoes leading and returns a
:class:`isdu_bids.phase.fitting.FieldFit`.
"""

from __future__ import annotations

from isdu_bids.registry import Method, Registry


def _mean(name: str, description: str) -> Method:
    target = "isdu_bids.phase.fitting:weighted_mean"
    return Method(name, target, description, "10.1002/mrm.28563", {"weights": name})


COMBINATION = Registry(
    "echo combination",
    _mean("phase_snr", "SNR-weighted mean of the echoes (weights M TE)"),
    _mean(
        "phase_var",
        "inverse-variance-weighted mean of the echoes (weights M^2 TE^2), which is least squares",
    ),
    _mean("average", "unweighted mean of the echoes"),
    _mean("echo_time", "mean of the echoes weighted by TE"),
    _mean("magnitude", "mean of the echoes weighted by the magnitude"),
    Method(
        "linear",
        "isdu_bids.phase.fitting:line",
        "slope of a weighted straight line over echo time, fitted with a phase offset",
        "10.1002/mrm.30006",
    ),
    Method(
        "nonlinear",
        "isdu_bids.phase.fitting:complex_exponential",
        "frequency of a complex exponential over echo time, fitted with a phase offset",
        "10.1002/mrm.24272",
    ),
)
