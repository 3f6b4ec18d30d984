"""Dipole inversion: local field in, susceptibility out."""
