"""Checkpoints: reading, writing and recognising them, their file formats, and pruning their GRU."""
