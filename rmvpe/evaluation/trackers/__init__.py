"""Pitch trackers of other projects beside this one: adapters, their processes, the comparison, its picture."""
