"""Choices of segmentation by name, in a module that the command line can read without PyTorch."""

from __future__ import annotations

#: Networks; ``auto`` is SynthSeg where its weights are found, else the small one of the package.
SEGMENTATIONS = ("auto", "synthseg", "robust", "small", "none")
