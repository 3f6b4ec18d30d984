"""Maps against the truth."""
