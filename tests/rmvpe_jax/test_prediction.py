"""The convolutions of prediction against those of training, for the shapes at which they take different ways."""

import pickle

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import rmvpe
from rmvpe.checkpoint.store import load
from rmvpe.config import MelConfig, ModelConfig
from rmvpe_jax.layers import BatchNorm
from rmvpe_jax.model import RMVPE
from rmvpe_jax.prediction import frames_at_a_time, prepare


def random_model(channels: int, levels: int) -> RMVPE:
    """A network in evaluation mode whose batch norms are not neutral."""
    mel = MelConfig(n_mels=16)
    config = ModelConfig(mel=mel, levels=levels, blocks=2, inter_layers=1, channels=channels, gru_hidden=3, n_bins=5)
    model, rng = RMVPE(config), np.random.default_rng(1)
    for _, norm in nnx.iter_graph(model):
        if isinstance(norm, BatchNorm):
            for numbers in (norm.scale, norm.bias, norm.mean, norm.var):
                numbers[...] = jnp.asarray(rng.uniform(0.5, 1.5, numbers[...].shape).astype(np.float32))
    model.eval()
    return model


@pytest.mark.parametrize("cpu", [True, False])
@pytest.mark.parametrize(("channels", "levels"), [(3, 2), (2, 4), (12, 3), (20, 1)])
def test_prepared_convolutions_compute_the_same(channels: int, levels: int, cpu: bool):
    model = random_model(channels, levels)
    log_mel = jnp.asarray(np.random.default_rng(0).normal(-5, 2, (2, 48, 16)).astype(np.float32))
    expected = np.asarray(model.features(log_mel))
    found = np.asarray(prepare(model, cpu=cpu).features(log_mel))
    # Rounding alone: the order of sums differs, and norms are folded in float64
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


def test_one_batch_norm_is_left():
    model = prepare(random_model(3, 2), cpu=True)
    assert [norm for _, norm in nnx.iter_graph(model) if isinstance(norm, BatchNorm)] == [model.unet.encoder.bn]


def test_frames_at_a_time_fill_the_channels():
    shapes = ((1, 12), (12, 12), (16, 16), (12, 3), (16, 32), (24, 12), (1, 1))
    assert [frames_at_a_time(*shape) for shape in shapes] == [2, 2, 2, 8, 1, 1, 32]


def test_what_a_backend_pickles_is_its_network_to_the_bit():
    """Its kernels are folded, packed and laid out for the CPU; the weights that it hands on are those of the files."""
    first = rmvpe.load("small", "jax", "cpu")
    again = pickle.loads(pickle.dumps(first))
    sound = np.random.default_rng(0).normal(0.0, 0.1, 16000).astype(np.float32)
    np.testing.assert_array_equal(again.salience(sound, 16000), first.salience(sound, 16000))
    weights, others = (pickle.loads(pickle.dumps(each)).backend._checkpoint().tensors for each in (first, again))
    assert weights.keys() == load("small").tensors.keys()
    assert all(np.array_equal(array, others[name]) for name, array in weights.items())
