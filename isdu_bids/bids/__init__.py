"""The two ends where BIDS is spoken: dataset in, derivatives out."""
