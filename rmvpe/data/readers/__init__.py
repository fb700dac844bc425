"""Readers of data sets: one class per kind of folder, opened by name through `registry`."""
