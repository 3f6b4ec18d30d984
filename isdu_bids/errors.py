"""Every error a user can meet: one class per kind, each with its exit code.

The codes are those of the BIDS Apps execution specification (BEP027), after ``sysexits.h``.
A message names the file, the field and the remedy.
"""

from __future__ import annotations


class IsduError(Exception):
    """Base of all errors that are reported in one line, without a traceback."""

    exit_code = 1


class ValidationError(IsduError):
    """The input dataset does not pass the BIDS validator."""

    exit_code = 16


class NoMatchError(IsduError):
    """The labels or filters asked for select no scan of the dataset."""

    exit_code = 18


class UsageError(IsduError):
    """The command line or the configuration file cannot be used."""

    exit_code = 64


class DataError(IsduError):
    """A scan or its metadata cannot be processed."""

    exit_code = 65


class OptionsError(DataError):
    """The options ask of a scan what it does not have; the scan is in order."""


class NoInputError(IsduError):
    """The dataset is missing or empty."""

    exit_code = 66


class OutputError(IsduError):
    """The output or work folder cannot be written."""

    exit_code = 73


class MemoryShortageError(IsduError):
    """The system gives no more memory, processes or threads."""

    exit_code = 71


class BusyError(IsduError):
    """Another run works on the same scan."""

    exit_code = 75
