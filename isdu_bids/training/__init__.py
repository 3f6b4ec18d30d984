"""Training of the networks on simulated patches."""
