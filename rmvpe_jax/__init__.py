"""RMVPE in JAX: the network (Flax NNX), its checkpoints (Orbax) and the backend of `rmvpe.load(backend="jax")`."""
