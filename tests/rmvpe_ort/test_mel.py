"""The graph's log-mel is rmvpe.mel's."""

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto

from rmvpe import mel as host
from rmvpe.config import MelConfig, ModelConfig
from rmvpe_ort import mel
from rmvpe_ort.graph import Graph
from tests.helpers.sounds import sounds

# The product sums half a window in float32: its rounding shows in bands a thousand times quieter than the rest
TOLERANCES = {np.float64: 1e-5, np.float32: 2e-3}


def log_mel(audio: np.ndarray, config: MelConfig, semitones: float, precision: type) -> np.ndarray:
    graph = Graph()
    graph.name(mel.log_mel(graph, "audio", config, key_shift_semitones=semitones, precision=precision), "log_mel")
    shapes = {"audio": (int(TensorProto.FLOAT), ["batch", "samples"])}
    model = graph.model(shapes, {"log_mel": (int(TensorProto.FLOAT), ["batch", "frames", config.n_mels])})
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found: np.ndarray = session.run(None, {"audio": audio.astype(np.float32)})[0]
    return found


# Windows of 512, 724, 1023 (odd, as numpy's FFT takes it), 1024, 1085 (odd), 1448 and 2048 samples
@pytest.mark.parametrize("semitones", [-12.0, -6.0, -0.02, 0.0, 1.0, 6.0, 12.0])
@pytest.mark.parametrize("precision", TOLERANCES)
@pytest.mark.parametrize("config", [MelConfig(), ModelConfig.e2e().mel], ids=["e2e0", "e2e"])
def test_it_is_the_hosts(config, precision, semitones):
    for name, sound in sounds(8000).items():
        sound = sound.astype(np.float32)
        expected = host.log_mel(sound, config, key_shift_semitones=semitones, centred=False)
        found = log_mel(np.stack([sound, sound[::-1]]), config, semitones, precision)
        assert found.shape == (2, *expected.shape)
        assert found.dtype == np.float32
        assert np.abs(found[0] - expected).max() <= TOLERANCES[precision], name


def test_odd_windows_are_among_them():
    windows = [host.shifted_window(MelConfig(), semitones) for semitones in (-0.02, 0.0, 1.0)]
    assert [window % 2 for window in windows] == [1, 0, 1]


@pytest.mark.parametrize("hop", [100, 128, 160, 1000, 1024])
def test_any_hop(hop):
    config, sound = replace(MelConfig(), hop_samples=hop), sounds(8000)["voice"].astype(np.float32)
    expected = host.log_mel(sound, config, centred=False)
    found = log_mel(sound[None], config, 0.0, np.float64)[0]
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1e-5


@pytest.mark.parametrize("n", [1024, 1025, 1183, 1184, 1185, 2048])
def test_every_whole_frame_is_there(n):
    sound = sounds(n)["noise"].astype(np.float32)
    expected = host.log_mel(sound, MelConfig(), centred=False)
    found = log_mel(sound[None], MelConfig(), 0.0, np.float64)[0]
    assert found.shape == expected.shape == ((n - 1024) // 160 + 1, 128)
    assert np.abs(found - expected).max() <= 1e-5
