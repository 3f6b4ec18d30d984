"""Dipole and spherical kernels, padding, devices."""
