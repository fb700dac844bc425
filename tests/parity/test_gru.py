"""Our GRU against torch's: weights under torch's names and in its shapes, both directions, several layers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

from rmvpe_jax.gru import GRU
from rmvpe_jax.layers import Draw

FEATURES, HIDDEN = 7, 4


def pair(layers: int, dtype: torch.dtype) -> tuple[torch.nn.GRU, GRU]:
    """Torch's GRU with random weights, and ours with the same."""
    theirs = torch.nn.GRU(FEATURES, HIDDEN, layers, batch_first=True, bidirectional=True).to(dtype)
    ours = GRU(FEATURES, HIDDEN, layers, Draw(None))
    for name, parameter in theirs.named_parameters():
        with torch.no_grad():
            parameter.copy_(torch.from_numpy(np.random.default_rng(len(name)).normal(0, 0.7, parameter.shape)))
        getattr(ours, name).set_value(jnp.asarray(parameter.detach().numpy()))
    return theirs, ours


def test_parameters_are_torchs():
    theirs, ours = pair(2, torch.float32)
    shapes = {path[0]: leaf[...].shape for path, leaf in nnx.to_flat_state(nnx.state(ours))}
    assert shapes == {name: tuple(parameter.shape) for name, parameter in theirs.named_parameters()}


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.usefixtures("float64")
def test_output_is_torchs_in_float64(layers):
    theirs, ours = pair(layers, torch.float64)
    x = np.random.default_rng(0).standard_normal((3, 11, FEATURES))
    found = np.asarray(ours(jnp.asarray(x)))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, theirs(torch.from_numpy(x))[0].detach().numpy(), rtol=0, atol=1e-12)


def test_output_is_torchs_in_float32():
    theirs, ours = pair(1, torch.float32)
    x = np.random.default_rng(0).standard_normal((2, 200, FEATURES)).astype(np.float32)
    found = np.asarray(jax.jit(lambda x: ours(x))(x))
    assert found.dtype == np.float32
    # Gates saturate, so rounding does not build up over 200 frames
    np.testing.assert_allclose(found, theirs(torch.from_numpy(x))[0].detach().numpy(), rtol=0, atol=2e-6)


def test_each_direction_knows_its_past_only():
    _, ours = pair(1, torch.float32)
    x = np.random.default_rng(0).standard_normal((1, 10, FEATURES)).astype(np.float32)
    changed = x.copy()
    changed[0, 6] += 1.0
    difference = np.asarray(ours(jnp.asarray(x)) - ours(jnp.asarray(changed)))[0]
    forward, backward = difference[:, :HIDDEN], difference[:, HIDDEN:]
    assert not forward[:6].any()
    assert forward[6:].any(axis=1).all()
    assert not backward[7:].any()
    assert backward[:7].any(axis=1).all()
