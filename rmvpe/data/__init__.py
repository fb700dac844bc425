"""Training data: the Hybrid folder and how a synthetic one is made."""
