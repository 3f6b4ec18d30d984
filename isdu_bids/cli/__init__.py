"""Command lines: the BIDS App `isdu-bids` and the toolbox `isdu-qsm`."""
