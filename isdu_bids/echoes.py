"""What echo times allow: the only place with limits on their values, spacing and number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from isdu_bids.errors import DataError

#: No gradient echo is later (s); a larger number can only be in milliseconds.
LATEST_ECHO_S = 0.5

#: By how much gaps between echoes may differ and still count as even, relative to the smallest.
EVEN_WITHIN = 0.02

#: Fewest echoes that tell decay from noise, and a phase that alternates with the readout from the
#: other two parameters of the phase.
MIN_DECAY_ECHOES = 3
MIN_BIPOLAR_ECHOES = 3

#: Fewest echoes that tell a phase offset from the field.
MIN_OFFSET_ECHOES = 2


def check_echo_times(echo_times_s: Sequence[float]) -> None:
    """Refuse impossible echo times.

    Raises
    ------
    DataError
        If there is none, or one is not positive, can only be milliseconds, or does not exceed the
        one before.
    """
    times = np.asarray(echo_times_s, float)
    if times.size == 0 or not np.all(np.isfinite(times)) or np.any(times <= 0):
        raise DataError(
            f"EchoTime {list(echo_times_s)}: give a positive number of seconds per echo"
        )
    if times.max() > LATEST_ECHO_S:
        raise DataError(
            f"EchoTime is {times.max():g} s, which can only be milliseconds; BIDS wants seconds, "
            f"e.g. {times.max() / 1000:g}"
        )
    if np.any(_gaps_us(echo_times_s) < 1):
        raise DataError(
            f"EchoTime {list(echo_times_s)}: echo times must increase from echo to echo; "
            "check the echo entities and the EchoTime of each sidecar"
        )


def evenly_spaced(echo_times_s: Sequence[float]) -> bool:
    """Whether all gaps between echoes are equal, but for two percent.

    Examples
    --------
    >>> evenly_spaced([0.004, 0.009, 0.014]), evenly_spaced([0.00100, 0.00200, 0.00305])
    (True, False)
    """
    gaps_us = _gaps_us(echo_times_s)
    return gaps_us.size < 2 or bool(np.ptp(gaps_us) <= EVEN_WITHIN * gaps_us.min())


def spacing_flags(echo_times_s: Sequence[float]) -> tuple[str, ...]:
    """Flag uneven echoes, and those that look as if one were missing.

    Returns
    -------
    tuple of str
        ``echo_missing`` where every gap is a whole multiple of the smallest, else
        ``echo_spacing_uneven`` where gaps differ, else nothing.

    Examples
    --------
    >>> spacing_flags([0.004, 0.008, 0.016])
    ('echo_missing',)
    """
    if evenly_spaced(echo_times_s):
        return ()
    gaps_us = _gaps_us(echo_times_s)
    multiples = gaps_us / gaps_us.min()
    whole = np.abs(multiples - np.rint(multiples)).max() <= EVEN_WITHIN
    return ("echo_missing",) if whole else ("echo_spacing_uneven",)


def need_echoes(n_echoes: int, needed: int, purpose: str, instead: str) -> None:
    """Refuse a scan with too few echoes for a purpose.

    Raises
    ------
    DataError
        With what to do ``instead``.

    Examples
    --------
    >>> need_echoes(2, MIN_DECAY_ECHOES, "R2*", "leave it out")
    Traceback (most recent call last):
    isdu_bids.errors.DataError: R2* needs 3 echoes, the scan has 2; leave it out
    """
    if n_echoes < needed:
        raise DataError(f"{purpose} needs {needed} echoes, the scan has {n_echoes}; {instead}")


def _gaps_us(echo_times_s: Sequence[float]) -> npt.NDArray[np.float64]:
    """Gaps in whole microseconds, so that no limit hangs on the last bit of a number."""
    return np.rint(1e6 * np.diff(np.asarray(echo_times_s, float)))
