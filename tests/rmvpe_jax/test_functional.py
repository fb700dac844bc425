"""The network as a pure function: what the backend computes, under jit, vmap and grad; there and back to a file."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rmvpe_jax
from rmvpe.checkpoint.store import Checkpoint, load, save
from rmvpe.chunked_gru import salience_of_features
from rmvpe.config import MelConfig, ModelConfig
from rmvpe.errors import UserError
from rmvpe_jax import checkpoint as orbax
from rmvpe_jax.functional import skeleton, to_checkpoint
from rmvpe_jax.infer import Backend
from tests.helpers import golden

TINY = ModelConfig(
    name="tiny",
    mel=MelConfig(n_mels=8),
    levels=2,
    blocks=1,
    inter_layers=1,
    channels=2,
    gru_hidden=3,
    n_bins=5,
    timbre_filter=True,
)
ROUNDING = 1e-6  # of salience in float32, by another order of the same sums


def mel_of(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).normal(-6.0, 3.0, shape).astype(np.float32)  # as a log-mel spectrogram


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return golden.checkpoint(TINY)


@pytest.fixture(scope="module")
def params(checkpoint: Checkpoint) -> rmvpe_jax.Params:
    return rmvpe_jax.load_params(checkpoint)


def test_it_is_the_backends_salience() -> None:
    weights = load("small")
    log_mel = mel_of(1, 64, 128)
    backend = Backend(weights, "cpu")
    expected = np.concatenate(list(salience_of_features(backend, iter([backend.features(log_mel)[0]]))))
    found = jax.jit(rmvpe_jax.salience)(rmvpe_jax.load_params("small"), log_mel)
    np.testing.assert_allclose(found[0], expected, rtol=0, atol=ROUNDING)


def test_jit_is_eager_and_vmap_is_the_batch(params: rmvpe_jax.Params) -> None:
    log_mel = mel_of(3, 12, 8)
    skeleton.cache_clear()  # what is kept from a call must not belong to a trace
    compiled = jax.jit(rmvpe_jax.salience)(params, log_mel)
    eager = rmvpe_jax.salience(params, log_mel)
    assert eager.shape == (3, 12, 5)
    np.testing.assert_allclose(compiled, eager, rtol=0, atol=ROUNDING)
    each = jax.vmap(rmvpe_jax.salience, in_axes=(None, 0))(params, log_mel)
    np.testing.assert_allclose(each, eager, rtol=0, atol=ROUNDING)
    np.testing.assert_allclose(rmvpe_jax.salience(params, log_mel[0]), eager[0], rtol=0, atol=ROUNDING)


def test_other_lengths_end_in_silence(params: rmvpe_jax.Params) -> None:
    log_mel = mel_of(1, 9, 8)
    silence = np.full((1, 3, 8), np.log(TINY.mel.floor), np.float32)
    expected = rmvpe_jax.salience(params, np.concatenate((log_mel, silence), axis=1))[:, :9]
    np.testing.assert_allclose(rmvpe_jax.salience(params, log_mel), expected, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("shape", [(8,), (4, 9), (0, 8)])
def test_another_shape_is_one_sentence(params: rmvpe_jax.Params, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"log_mel must be \[..., frames, 8\], not"):
        rmvpe_jax.salience(params, jnp.zeros(shape))


@pytest.mark.usefixtures("float64")
def test_gradients_are_the_finite_differences(params: rmvpe_jax.Params) -> None:
    wide = jax.tree.map(lambda array: array.astype("float64"), params)
    log_mel = mel_of(6, 8).astype(np.float64)
    weights = np.random.default_rng(4).standard_normal((6, 5))

    @jax.jit
    def loss(params: rmvpe_jax.Params, log_mel: jax.Array) -> jax.Array:
        return jnp.sum(weights * rmvpe_jax.salience(params, log_mel))

    by_params, by_mel = jax.grad(loss, argnums=(0, 1))(wide, log_mel)
    step = 1e-6
    for place in ((0, 0), (2, 5), (5, 7)):
        moved = np.zeros_like(log_mel)
        moved[place] = step
        expected = (loss(wide, log_mel + moved) - loss(wide, log_mel - moved)) / (2 * step)
        assert float(by_mel[place]) == pytest.approx(float(expected), rel=1e-4, abs=1e-8)  # the formula's own error

    def shifted(by: float) -> rmvpe_jax.Params:
        cnn = {**wide.weights["cnn"], "bias": wide.weights["cnn"]["bias"] + by}
        return replace(wide, weights={**wide.weights, "cnn": cnn})

    expected = (loss(shifted(step), log_mel) - loss(shifted(-step), log_mel)) / (2 * step)
    assert abs(float(expected)) > 1e-6
    assert float(by_params.weights["cnn"]["bias"].sum()) == pytest.approx(float(expected), rel=1e-4)


def test_parameters_come_by_name_file_and_folder_and_go_back(checkpoint, params, tmp_path) -> None:
    save(tmp_path / "a.safetensors", checkpoint)
    orbax.save(tmp_path / "ckpt", checkpoint.tensors, TINY, {})
    for place in (tmp_path / "a.safetensors", tmp_path / "ckpt"):
        found = to_checkpoint(rmvpe_jax.load_params(place), {"step": "1"})
        assert found.config == TINY
        assert found.metadata == {"step": "1"}
        assert all(np.array_equal(found.tensors[name], tensor) for name, tensor in checkpoint.tensors.items())
    assert params.weights["fc"]["1"]["kernel"].shape == (6, 5)
    assert set(params.statistics["unet"]["encoder"]["bn"]) == {"mean", "var"}
    with pytest.raises(UserError, match="there are no weights 'nothing'"):
        rmvpe_jax.load_params("nothing")
