"""Anatomical regions: networks, labels, and statistics of maps per region."""
