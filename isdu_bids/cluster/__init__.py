"""Cohorts on a cluster: a frozen list of tasks, one job array, and what became of each scan."""
