"""Nipype workflows: wiring and execution."""
