"""Accuracy on data with known f0, comparison with other trackers, agreement of two backends."""
