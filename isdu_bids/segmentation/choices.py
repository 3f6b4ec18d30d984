"""Choices of segmentation by name, in a module that the command line can read without PyTorch."""

from __future__ import annotations

#: Networks; ``auto`` is SynthSeg where its weights are found, else none: the small one of the
#: package is preliminary, and regional values that look right must not come by default.
SEGMENTATIONS = ("auto", "synthseg", "robust", "small", "none")
