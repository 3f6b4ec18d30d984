"""isdu-bids: quantitative susceptibility mapping with ISDU-QSMNet, as a BIDS App."""

__version__ = "0.1.0"
