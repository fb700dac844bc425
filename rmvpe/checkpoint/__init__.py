"""Checkpoints: reading and writing them, the architecture they hold, the file formats they come in."""
