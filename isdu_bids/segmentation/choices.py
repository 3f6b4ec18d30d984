"""Choices of segmentation by name, in a module that the command line can read without PyTorch."""

from __future__ import annotations

#: Networks by name.
NETWORKS = ("synthseg", "robust", "small")
#: What a run can do; ``auto`` is SynthSeg where its weights are found, else none: the small network
#: is preliminary, and regional values that look right must not come by default.
SEGMENTATIONS = ("auto", *NETWORKS, "none")
