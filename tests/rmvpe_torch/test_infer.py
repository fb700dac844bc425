"""The torch backend: faster than the plain network, and the same answer."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from rmvpe import mel  # noqa: E402
from rmvpe.checkpoint.architecture import expected_tensors  # noqa: E402
from rmvpe.checkpoint.store import Checkpoint  # noqa: E402
from rmvpe.chunked_gru import salience  # noqa: E402
from rmvpe.config import ModelConfig  # noqa: E402
from rmvpe.errors import UserError  # noqa: E402
from rmvpe_torch.checkpoint import load_model  # noqa: E402
from rmvpe_torch.infer import Backend, one_direction  # noqa: E402


def checkpoint(config: ModelConfig, seed: int = 0) -> Checkpoint:
    """Random weights and random batch statistics, scaled so that activations neither vanish nor explode."""
    rng, tensors = np.random.default_rng(seed), {}
    for name, shape in expected_tensors(config).items():
        values = rng.standard_normal(shape)
        if "running_var" in name:
            values = 0.5 + np.abs(values)
        elif len(shape) == 1:
            values = (1.0 if name.endswith("weight") else 0.0) + 0.1 * values
        else:
            values = values / np.sqrt(np.prod(shape[1:]))
        tensors[name] = values.astype(np.float32)
    return Checkpoint(config, tensors, {})


def spectrogram(config: ModelConfig, frames: int, batch: int = 1) -> np.ndarray:
    sound = 0.1 * np.random.default_rng(1).standard_normal((frames - 1) * config.mel.hop_samples).astype(np.float32)
    clip = mel.log_mel(sound, config.mel)
    return np.stack([clip + k for k in range(batch)])


@pytest.mark.parametrize("name", ["small", "e2e0", "e2e"])
def test_the_answer_is_the_plain_networks(name: str):
    config = getattr(ModelConfig, name)()
    weights = checkpoint(config)
    log_mel = spectrogram(config, 32, batch=2)
    with torch.inference_mode():
        exact = load_model(weights).double()(torch.from_numpy(log_mel).double()).numpy()
    found = salience(Backend(weights, "cpu"), log_mel)
    assert found.dtype == np.float32
    assert found.shape == (2, 32, 360)
    # Against float64: folding and layout may round differently, and must not round worse than this
    assert np.abs(found - exact).max() < 1e-5


@pytest.mark.parametrize("reverse", [False, True])
def test_one_direction_is_that_half_of_the_gru_in_memory_of_its_own(reverse: bool):
    """Of its own, because moving a GRU to a CUDA device packs its weights into a buffer and takes them from others."""
    gru = torch.nn.GRU(5, 3, 2, batch_first=True, bidirectional=True)
    x = torch.randn(1, 20, 6)
    alone = one_direction(gru, 1, reverse)
    weights = {parameter.data_ptr() for parameter in gru.parameters()}
    assert not weights & {parameter.data_ptr() for parameter in alone.parameters()}
    second = torch.nn.GRU(6, 3, batch_first=True, bidirectional=True)
    second.load_state_dict(
        {name.replace("l1", "l0"): value for name, value in gru.state_dict().items() if "l1" in name}
    )
    both, own = second(x)[0], alone(x.flip(1) if reverse else x)[0]
    expected = both[..., 3:].flip(1) if reverse else both[..., :3]
    torch.testing.assert_close(own, expected, rtol=0, atol=1e-6)


def test_windows_of_a_batch_do_not_meet():
    backend = Backend(checkpoint(ModelConfig.small()), "cpu")
    log_mel = spectrogram(ModelConfig.small(), 64, batch=3)
    together = salience(backend, log_mel)
    for k in range(3):
        np.testing.assert_allclose(salience(backend, log_mel[k : k + 1])[0], together[k], atol=1e-6)


def test_it_says_where_it_runs_and_keeps_no_graph():
    backend = Backend(checkpoint(ModelConfig.small()))
    assert backend.name == "torch"
    assert torch.device(backend.device).type in ("cpu", "cuda", "sdaa")
    assert Backend(checkpoint(ModelConfig.small()), "cpu").batch_windows == 1
    strided = spectrogram(ModelConfig.small(), 128)[:, ::2]  # numpy views need not be contiguous
    assert salience(backend, strided).flags.writeable


def test_lower_precision_stays_close():
    weights, log_mel = checkpoint(ModelConfig.small()), spectrogram(ModelConfig.small(), 64)
    full, low = (salience(Backend(weights, "cpu", dtype), log_mel) for dtype in ("float32", "bfloat16"))
    assert 0 < np.abs(low - full).max() < 0.1  # eight bits of mantissa through twenty convolutions


def test_the_front_end_on_the_device():
    config = ModelConfig.small()
    sound = 0.1 * np.random.default_rng(0).standard_normal((2, 5000)).astype(np.float32)
    found = Backend(checkpoint(config), "cpu").log_mel(sound)
    for clip, row in zip(sound, found):
        np.testing.assert_allclose(row, mel.log_mel(clip, config.mel, centred=False), atol=1e-5)


def test_mistakes_are_named():
    weights = checkpoint(ModelConfig.small())
    with pytest.raises(UserError, match="unknown conv_dtype 'float8': choose one of float32, bfloat16, float16"):
        Backend(weights, "cpu", "float8")
    with pytest.raises(UserError, match="unknown device 'abacus'"):
        Backend(weights, "abacus")
