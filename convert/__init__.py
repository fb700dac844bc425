"""Commands that convert RMVPE weights and training runs between JAX and PyTorch, and inspect and compare them."""
