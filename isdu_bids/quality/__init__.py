"""Quality measures of a processed scan, and the remarks that they call for."""
