"""Choices of inference by name, in a module that the command line can read without PyTorch."""

from __future__ import annotations

#: Grids a network can run on; see `inference.isdu`.
GRIDS = ("auto", "native", "resampled", "aligned")
#: Precisions of the denoisers.
PRECISIONS = ("single", "half")
