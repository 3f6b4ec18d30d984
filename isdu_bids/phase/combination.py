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
    _mean("phase_snr", "Mean of P/TE, weighted by the signal-to-noise of the phase, M TE"),
    _mean(
        "phase_var",
        "Mean of P/TE, weighted by the inverse variance of the phase, M^2 TE^2: least squares",
    ),
    _mean("average", "Plain mean of P/TE"),
    _mean("echo_time", "Mean of P/TE, weighted by TE"),
    _mean("magnitude", "Mean of P/TE, weighted by M"),
    Method(
        "linear",
        "isdu_bids.phase.fitting:line",
        "Weighted straight line over echo time; fits a phase offset too",
        "10.1002/mrm.30006",
    ),
    Method(
        "nonlinear",
        "isdu_bids.phase.fitting:complex_exponential",
        "Complex least squares over echo time; fits a phase offset too",
        "10.1002/mrm.24272",
    ),
)
