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

#: Echoes that a choice of a run needs at least, and what to choose where there are fewer.
_NEEDS = {
    "R2*": (3, "leave it out"),
    "reference csf": (3, "use whole-mask"),  # which finds fluid by R2*
    "offset bipolar": (3, "use monopolar"),
    "offset monopolar": (2, "use none"),
    "combination linear": (2, "use phase_snr"),
    "combination nonlinear": (2, "use phase_snr"),
}


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


def lack_of_echoes(choice: str, n_echoes: int) -> str | None:
    """Say in one line why a scan has too few echoes for a choice; None where they suffice.

    Parameters
    ----------
    choice
        ``R2*``, or an option of the app with its value: ``offset bipolar``.
    n_echoes
        Of the scan.

    Examples
    --------
    >>> lack_of_echoes("offset bipolar", 2)
    'offset bipolar needs 3 echoes, the scan has 2; use monopolar'
    """
    needed, remedy = _NEEDS.get(choice, (1, ""))
    if n_echoes >= needed:
        return None
    return f"{choice} needs {needed} echoes, the scan has {n_echoes}; {remedy}"


def need_echoes(choice: str, n_echoes: int) -> None:
    """Refuse a choice for which a scan has too few echoes.

    Raises
    ------
    DataError
        With the remedy.
    """
    if reason := lack_of_echoes(choice, n_echoes):
        raise DataError(reason)


def _gaps_us(echo_times_s: Sequence[float]) -> npt.NDArray[np.float64]:
    """Gaps in whole microseconds, so that no limit hangs on the last bit of a number."""
    return np.rint(1e6 * np.diff(np.asarray(echo_times_s, float)))
