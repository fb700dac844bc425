"""Training data: the stream of examples, augmentation, mixing, targets; readers, synthesis and preparation of data
sets."""
