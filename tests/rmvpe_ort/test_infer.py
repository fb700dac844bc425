"""The ONNX Runtime backend: precision, threads, pickling, forked processes, and devices that fail."""

import os
import pickle
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator

import rmvpe
from rmvpe.chunked_gru import salience
from rmvpe.config import ModelConfig
from rmvpe.errors import UserError
from rmvpe_ort.device import KINDS, Device
from rmvpe_ort.graph import Graph
from rmvpe_ort.infer import Backend, Session
from rmvpe_ort.layers import Layers
from rmvpe_ort.model import RMVPE
from tests.helpers import golden
from tests.helpers.paths import ROOT

NARROW = replace(ModelConfig.small(), channels=2, gru_hidden=16)
CHECKPOINT = golden.checkpoint(NARROW, seed=2)
TIME_LIMIT_S = 120


def spectrogram(frames: int, batch: int = 1) -> np.ndarray:
    return np.random.default_rng(1).normal(-6.0, 3.0, (batch, frames, 128)).astype(np.float32)


def test_the_answer_is_the_graphs_in_float64():
    """With batch norms folded, against the plain graph in numpy: folding must not round worse than this."""
    graph, log_mel = Graph(np.float64), spectrogram(32, batch=2)
    graph.name(RMVPE(Layers(NARROW, CHECKPOINT.tensors, graph))("log_mel"), "salience")
    axes = ["batch", "frames", "bands"]
    described = (int(TensorProto.DOUBLE), axes)
    evaluator = ReferenceEvaluator(graph.model({"log_mel": described}, {"salience": described}))
    exact: Any = evaluator.run(None, {"log_mel": log_mel.astype(np.float64)})
    found = salience(Backend(CHECKPOINT, "cpu"), log_mel)
    assert found.dtype == np.float32
    assert found.shape == (2, 32, 360)
    assert np.abs(found - exact[0]).max() < 1e-5


def test_it_says_where_it_runs():
    backend = Backend(CHECKPOINT, "cpu")
    assert (backend.name, backend.device, backend.batch_windows, backend.gru_layers) == ("onnx", "cpu", 1, 1)
    strided = spectrogram(64)[:, ::2]  # numpy views need not be contiguous
    assert salience(backend, strided).shape == (1, 32, 360)


def test_threads_are_taken_and_do_not_change_the_pitch(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    usual, one, three = (Backend(CHECKPOINT, "cpu", threads=threads) for threads in (None, 1, 3))
    assert [backend.threads for backend in (usual, one, three)] == [2, 1, 3]
    log_mel = spectrogram(64)
    # More threads may sum in another order
    np.testing.assert_allclose(salience(three, log_mel), salience(one, log_mel), rtol=0, atol=1e-6)


def test_half_precision_has_an_effect_and_bfloat16_is_refused():
    log_mel = spectrogram(64)
    full, low = (salience(Backend(CHECKPOINT, "cpu", dtype), log_mel) for dtype in ("float32", "float16"))
    assert 1e-6 < np.abs(low - full).max() < 0.02  # eleven bits of mantissa through some twenty convolutions
    for dtype in ("bfloat16", "float8"):
        with pytest.raises(UserError, match=f"no conv_dtype '{dtype}': choose float32 or float16"):
            Backend(CHECKPOINT, "cpu", dtype)


def test_a_pickled_backend_keeps_its_settings():
    backend = Backend(CHECKPOINT, "cpu", "float16", threads=3)
    again: Backend = pickle.loads(pickle.dumps(backend))
    assert (again.device, again.threads) == ("cpu", 3)
    log_mel = spectrogram(64)
    np.testing.assert_array_equal(salience(again, log_mel), salience(backend, log_mel))


def test_a_key_shift_is_a_spectrum_of_its_own():
    backend, sound = Backend(CHECKPOINT, "cpu"), 0.1 * np.random.default_rng(0).standard_normal((1, 5000))
    plain, low = (backend.log_mel(sound, key_shift_semitones=semitones) for semitones in (0.0, -12.0))
    assert plain.shape == (1, 25, 128)
    assert low.shape == (1, 29, 128)  # the window is half as long
    np.testing.assert_array_equal(backend.log_mel(sound), plain)


def double(open_session: Any, device: Device) -> Session:
    """A session that doubles its input, opened by `open_session`."""
    graph = Graph()
    graph.name(graph.op("Add", "x", "x"), "y")
    return Session(graph, {"x": ["n"]}, ["y"], device, 1, open_session=open_session)


def test_a_session_computes_in_float32():
    graph = Graph()
    graph.name(graph.op("Add", "x", "x"), "y")
    found = Session(graph, {"x": ["n"]}, ["y"], Device("cpu"), 1)(x=np.array([1.5, 2.0]))
    assert found.dtype == np.float32
    assert found.tolist() == [3.0, 4.0]


def test_a_device_that_does_not_start_is_one_sentence():
    def fails(*arguments: Any, **options: Any) -> None:
        raise RuntimeError("CUDA failure 100: no CUDA-capable device is detected ;\n GPU=0 ; hostname=here ;\n")

    with pytest.raises(UserError) as error:
        double(fails, Device("cuda", 1))
    assert "device cuda:1 does not start" in str(error.value)
    assert "no CUDA-capable device is detected" in str(error.value)
    assert str(error.value).endswith("choose cpu")
    assert "\n" not in str(error.value)


def test_a_cpu_that_silently_stands_in_for_a_device_is_refused():
    """As onnxruntime does where a library of the provider cannot be loaded."""

    class OnCpu:
        def __init__(self, *arguments: Any, **options: Any):
            assert options["providers"][0][0] == "CUDAExecutionProvider"

        def get_providers(self) -> list[str]:
            return ["CPUExecutionProvider"]

    with pytest.raises(UserError, match=r"device cuda:0 does not start: .*CUDAExecutionProvider.*or choose cpu"):
        double(OnCpu, Device("cuda"))


FORKING = """
import os, signal, sys, warnings
import numpy as np
import rmvpe

warnings.filterwarnings("ignore", message=".*fork.*")  # of Python 3.12, beside threads
signal.alarm(60)  # ends a process that hangs
sound = np.sin(np.arange(160000) * 0.1).astype(np.float32)
estimator = rmvpe.load("small", "onnx", "cpu", threads=4)
expected = estimator.from_audio(sound, 16000)
child = os.fork()
if child == 0:
    signal.alarm(60)
    found = estimator.from_audio(sound, 16000)
    # One thread sums in another order than four
    same = np.array_equal(found.voiced, expected.voiced) and np.abs(found.confidence - expected.confidence).max() < 1e-5
    sys.exit(7 if same else 8)  # an end of a usual kind, at which everything is freed
print("child", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), "telemetry", os.environ["ORT_DISABLE_TELEMETRY"])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_computes_and_ends():
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(
        [sys.executable, "-c", FORKING], capture_output=True, text=True, timeout=TIME_LIMIT_S, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["child", "7", "telemetry", "1"]


def test_the_users_own_telemetry_setting_stays():
    code = "import os, rmvpe_ort; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "ORT_DISABLE_TELEMETRY": "0"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.split() == ["0"]


@pytest.mark.parametrize("threads", [0, -1, 1.5, True, "2"])
def test_threads_must_be_a_number(threads):
    with pytest.raises(UserError, match="threads must be a whole number above 0, not"):
        rmvpe.load("small", "onnx", "cpu", threads=threads)


def test_a_missing_device_is_never_replaced_by_the_cpu():
    missing = next(kind for kind, row in KINDS.items() if row.provider not in onnxruntime.get_available_providers())
    with pytest.raises(UserError, match=rf"device '{missing}' cannot be used: .* {KINDS[missing].provider}"):
        rmvpe.load("small", "onnx", missing)
    with pytest.raises(UserError, match=f"device '{missing}' cannot be used"):
        Backend(CHECKPOINT, missing)
