"""Unrolled networks, their weights and their inference."""
