"""RMVPE on PyTorch: the network, its checkpoints, prediction and training. `rmvpe` decides what the answer is.

Importing this package alone imports nothing; take what is needed from its modules (`model`, `infer`, `train`, ...).
"""
