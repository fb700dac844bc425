"""RMVPE on PyTorch: the network, its checkpoints, prediction and training.

Everything that does not depend on the framework is in `rmvpe`. `import rmvpe_torch` imports nothing: import its
modules (`model`, `infer`, `train`, ...).
"""
