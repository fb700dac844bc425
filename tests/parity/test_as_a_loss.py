"""Salience as part of a loss: both frameworks give the same gradient with respect to the log-mel."""

import jax
import numpy as np
import pytest
import torch

import rmvpe_jax
import rmvpe_torch
from rmvpe.config import MelConfig, ModelConfig
from tests.helpers import golden

TINY = ModelConfig(
    name="tiny", mel=MelConfig(n_mels=8), levels=2, blocks=1, inter_layers=1, channels=2, gru_hidden=3, n_bins=5
)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("frames", [8, 9])  # a multiple of the U-Net's stride, and padded to one
def test_salience_and_gradient_agree(frames: int) -> None:
    checkpoint = golden.checkpoint(TINY)
    log_mel = np.random.default_rng(5).normal(-6.0, 3.0, (2, frames, 8))
    weights = np.random.default_rng(6).standard_normal((2, frames, 5))

    theirs = torch.from_numpy(log_mel).requires_grad_(True)
    loss = (rmvpe_torch.load_model(checkpoint).double()(theirs) * torch.from_numpy(weights)).sum()
    loss.backward()

    params = jax.tree.map(lambda array: array.astype("float64"), rmvpe_jax.load_params(checkpoint))
    run = jax.jit(
        jax.value_and_grad(lambda x: (rmvpe_jax.salience(params, x) * weights).sum()),
        compiler_options=golden.QUICK_COMPILE,
    )
    found, gradient = run(log_mel)
    assert float(found) == pytest.approx(loss.item(), abs=1e-10)  # the same arithmetic: what differs is rounding
    assert theirs.grad is not None
    np.testing.assert_allclose(gradient, theirs.grad.numpy(), rtol=0, atol=1e-10)
    assert np.abs(gradient).max() > 1e-4
