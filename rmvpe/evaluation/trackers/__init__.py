"""Comparison with pitch trackers of other projects: adapters, their processes, the comparison, its picture."""
