"""Files for other programs: they run in plain onnxruntime, and give what the estimator gives."""

import json
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import rmvpe
from rmvpe import audio
from rmvpe.checkpoint.store import Checkpoint, load
from rmvpe.config import ModelConfig
from rmvpe.errors import UserError
from rmvpe.estimator import WINDOW_FRAMES, Estimator, default_config
from rmvpe.pitch import cents_between
from rmvpe_ort.check import spectrogram
from rmvpe_ort.export import DTYPES, KINDS, ExportSettings, build
from rmvpe_ort.infer import Backend
from tests.helpers import golden
from tests.helpers.paths import DEMO_RECORDING

CPU = ["CPUExecutionProvider"]
RATE_HZ = 16000
NARROW = golden.checkpoint(replace(ModelConfig.small(), channels=2, gru_hidden=16), seed=2)
FLOAT, BOOL = "tensor(float)", "tensor(bool)"
ROW: list[Any] = [1, "n_frames"]
THRESHOLD: list[Any] = ["threshold", FLOAT, []]
INPUTS = {
    "waveform": [["waveform", FLOAT, [1, "n_samples"]], THRESHOLD],
    "mel": [["mel", FLOAT, ["batch", 128, "frames"]]],
    "mel-pitch": [["mel", FLOAT, [1, 128, "frames"]], THRESHOLD],
}
OUTPUTS = {
    "waveform": [["f0", FLOAT, ROW], ["uv", BOOL, ROW], ["pitchf", FLOAT, ROW], ["confidence", FLOAT, ROW]],
    "mel": [["hidden", FLOAT, ["batch", "frames", 360]]],
    "mel-pitch": [["pitchf", FLOAT, [1, "frames"]]],
}


@pytest.fixture(scope="module")
def samples() -> np.ndarray:
    return audio.read(DEMO_RECORDING).samples[: 6 * RATE_HZ]


@cache
def bundled() -> Checkpoint:
    return load("small")


@cache
def session(settings: ExportSettings, narrow: bool = False) -> onnxruntime.InferenceSession:
    model = build(NARROW if narrow else bundled(), settings)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=CPU)


def run(settings: ExportSettings, sound: np.ndarray, threshold: Any, narrow: bool = False) -> dict[str, np.ndarray]:
    """The outputs of a waveform file by their names."""
    given = {"waveform": sound[None].astype(np.float32), "threshold": np.array(threshold, np.float32)}
    names = [output.name for output in session(settings, narrow).get_outputs()]
    return dict(zip(names, session(settings, narrow).run(None, given)))


def own_threshold() -> float:
    return default_config(bundled()).known_threshold


def assert_same_pitch(f0_hz: np.ndarray, track: rmvpe.F0Track, threshold: float, cents: float = 0.1) -> None:
    """f0 within some cents where both are voiced; voicing differs only where the confidence is the threshold."""
    assert len(f0_hz) == len(track)
    voiced = f0_hz > 0
    clear = np.abs(track.confidence - threshold) > 1e-3
    np.testing.assert_array_equal(voiced[clear], track.voiced[clear])
    both = voiced & track.voiced
    assert both.sum() > 0.5 * len(track)
    assert np.abs(cents_between(f0_hz[both].astype(np.float64), track.f0_hz[both])).max() < cents


# As the programs that read such files: onnxruntime and numpy, and nothing of ours
STRANGER = """
import json, sys
sys.path += json.loads(sys.argv[1])
import numpy as np, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[2], providers=["CPUExecutionProvider"])
given = dict(np.load(sys.argv[3]))
np.savez(sys.argv[4], **dict(zip([o.name for o in session.get_outputs()], session.run(None, given))))
described = [[[a.name, a.type, a.shape] for a in found] for found in (session.get_inputs(), session.get_outputs())]
foreign = [name for name in sys.modules if name.startswith(("rmvpe", "torch", "jax", "onnx.", "scipy"))]
print(json.dumps([*described, foreign]))
"""


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_runs_where_rmvpe_is_not(kind: str, dtype: str, samples: np.ndarray, tmp_path: Path):
    file, given, found = (tmp_path / name for name in ("net.onnx", "in.npz", "out.npz"))
    file.write_bytes(build(bundled(), ExportSettings(kind, dtype)).SerializeToString())
    inputs = {"waveform": samples[None]} if kind == "waveform" else {"mel": spectrogram(samples, bundled())}
    if kind != "mel":
        inputs["threshold"] = np.array(own_threshold(), np.float32)
    np.savez(given, **inputs)  # type: ignore[arg-type]
    libraries = sorted({str(Path(module.__file__ or "").parents[1]) for module in (np, onnxruntime)})
    # -S: no packages but those of the list, so that an editable install of ours is not seen either
    command = [sys.executable, "-I", "-S", "-c", STRANGER, json.dumps(libraries), *map(str, (file, given, found))]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    described, results, foreign = json.loads(done.stdout)
    assert (described, results, foreign) == (INPUTS[kind], OUTPUTS[kind], [])

    outputs = dict(np.load(found))
    estimator = rmvpe.load("small", "onnx", "cpu")
    n_frames = len(samples) // 160 + 1
    if kind == "mel":
        expected = estimator.salience(samples, RATE_HZ)
        # Weights in half move the salience by up to 0.002; in float32 the front end rounds otherwise
        assert np.abs(outputs["hidden"][0, :n_frames] - expected).max() < (1e-3 if dtype == "float32" else 5e-3)
        return
    track = estimator.from_audio(samples, RATE_HZ)
    f0_hz = outputs["f0" if kind == "waveform" else "pitchf"][0, :n_frames]
    assert_same_pitch(f0_hz, track, own_threshold())
    if kind == "waveform":
        np.testing.assert_array_equal(outputs["pitchf"], outputs["f0"])
        np.testing.assert_array_equal(outputs["uv"], outputs["f0"] == 0)
        assert np.abs(outputs["confidence"][0] - track.confidence).max() < 1e-3


def test_a_minute_agrees(samples: np.ndarray):
    """The file sees it whole. The estimator has windows, whose seams move f0 by 0.16 cents here; in one they agree."""
    sound, backend = np.tile(samples, 10), Backend(bundled(), "cpu", threads=1)
    f0_hz = run(ExportSettings(), sound, own_threshold())["f0"][0]
    assert len(f0_hz) == 6001
    for window_frames, cents in ((6016, 0.1), (WINDOW_FRAMES, 0.5)):
        estimator = Estimator(backend, bundled().config, default_config(bundled()), window_frames=window_frames)
        assert_same_pitch(f0_hz, estimator.from_audio(sound, RATE_HZ), own_threshold(), cents)


def test_another_preset_agrees(samples: np.ndarray):
    """Other bands, skips that are filtered, and weights that recommend no threshold."""
    checkpoint = golden.checkpoint(replace(ModelConfig.e2e(), blocks=1, inter_layers=1, channels=2), seed=1)
    model = build(checkpoint, ExportSettings())
    found = onnxruntime.InferenceSession(model.SerializeToString(), providers=CPU)
    given = {"waveform": samples[None, :16000], "threshold": np.array(0.0, np.float32)}
    track = Estimator(Backend(checkpoint, "cpu"), checkpoint.config).with_config(threshold=0.0)
    expected = track.from_audio(samples[:16000], RATE_HZ)
    f0_hz, _, _, confidence = found.run(None, given)
    np.testing.assert_array_equal(f0_hz[0] > 0, expected.voiced)
    assert np.abs(confidence[0] - expected.confidence).max() < 1e-3


def test_every_length_has_its_frames(samples: np.ndarray):
    """From one sample on, n // 160 + 1 frames; the answer is the estimator's."""
    loud = samples[int(np.abs(samples).argmax()) - 3000 :]
    decoding = {"threshold": 0.0, "silence_gate_db": default_config(NARROW).silence_gate_db}
    estimator = Estimator(Backend(NARROW, "cpu", threads=1), NARROW.config).with_config(**decoding)
    for n in range(1, 6001):
        found = run(ExportSettings(), loud[:n], 0.0, narrow=True)
        assert {array.shape for array in found.values()} == {(1, n // 160 + 1)}, n
        if n < 10 or n % 97 == 0:
            expected = estimator.from_audio(loud[:n], RATE_HZ)
            assert np.abs(found["confidence"][0] - expected.confidence).max() < 1e-3, n
            np.testing.assert_array_equal(~found["uv"][0], expected.voiced, err_msg=str(n))


def test_silence_is_unvoiced_whatever_the_threshold(samples: np.ndarray):
    for sound in (np.zeros(1), np.zeros(961), np.zeros(16000)):
        for threshold in (0.0, own_threshold()):
            found = run(ExportSettings(), sound, threshold)
            assert found["uv"].all()
            assert not found["f0"].any()
    # Frames are gated one by one: silence around a sound, as the estimator has it
    sound = np.concatenate([np.zeros(8000, np.float32), samples[:16000], np.zeros(8000, np.float32)])
    track = rmvpe.load("small", "onnx", "cpu").with_config(threshold=0.0).from_audio(sound, RATE_HZ)
    found = run(ExportSettings(), sound, 0.0)
    np.testing.assert_array_equal(~found["uv"][0], track.voiced)
    assert found["uv"][0, :45].all()
    assert 0.3 < found["uv"].mean() < 0.7


def test_a_threshold_may_have_an_axis_and_outputs_may_be_asked_for(samples: np.ndarray):
    scalar = run(ExportSettings(), samples, own_threshold())
    given = {"waveform": samples[None], "threshold": np.array([own_threshold()], np.float32)}
    for names in (["pitchf"], ["uv", "f0"]):
        for name, array in zip(names, session(ExportSettings()).run(names, given)):
            np.testing.assert_array_equal(array, scalar[name])
            assert array.shape == (1, len(samples) // 160 + 1)


@pytest.mark.parametrize("host", [0.03, 0.05, 0.3, 0.9])
@pytest.mark.parametrize("kind", ["waveform", "mel-pitch"])
def test_a_programs_number_stands_for_our_threshold(kind: str, host: float, samples: np.ndarray):
    def voiced(settings: ExportSettings, threshold: float) -> np.ndarray:
        if kind == "waveform":
            return run(settings, samples, threshold)["f0"][0] > 0
        given = {"mel": spectrogram(samples, bundled()), "threshold": np.array(threshold, np.float32)}
        found: np.ndarray = session(settings).run(None, given)[0][0] > 0
        return found

    own, mapped = ExportSettings(kind), ExportSettings(kind, threshold_for=host)
    usual = voiced(own, own_threshold())
    assert 0.3 < usual.mean() < 0.95
    np.testing.assert_array_equal(voiced(mapped, host), usual)
    before = np.ones(len(usual), bool)
    shares = []
    for threshold in (0.0, 0.001, 0.01, 0.1, 0.3, 0.5, 0.9, 0.99, 1.0):
        now = voiced(mapped, threshold)
        assert not (now & ~before).any(), threshold  # more threshold, never more voiced
        before = now
        shares.append(now.mean())
    assert len(set(shares)) > 4  # and it has an effect
    assert not before.any()


def test_a_programs_number_moves_nothing_but_the_voicing(samples: np.ndarray):
    own, mapped = (run(ExportSettings(threshold_for=host), samples, 0.0) for host in (None, 0.03))
    for name in own:
        np.testing.assert_array_equal(mapped[name], own[name])


def test_weights_without_a_threshold_take_the_programs_number_as_it_is(samples: np.ndarray):
    own, mapped = (build(NARROW, ExportSettings(threshold_for=host)) for host in (None, 0.03))
    assert mapped.graph == own.graph


@pytest.mark.parametrize("host", [0.03, 0.3])
def test_a_programs_salience_stands_for_our_threshold(host: float, samples: np.ndarray):
    given = {"mel": spectrogram(samples, bundled())}
    plain, moved = (
        session(ExportSettings("mel", salience_for=number)).run(None, given)[0][0] for number in (None, host)
    )
    n_frames = len(samples) // 160 + 1
    curve = Estimator(Backend(bundled(), "cpu"), bundled().config, default_config(bundled())).pitch_curve(
        samples, 16000
    )
    clear = np.abs(curve.confidence - own_threshold()) > 1e-3
    expected = curve.confidence >= own_threshold()
    assert 0.3 < expected.mean() < 0.95
    np.testing.assert_array_equal((moved.max(axis=1) >= host)[:n_frames][clear], expected[clear])
    np.testing.assert_array_equal(moved.argmax(axis=1), plain.argmax(axis=1))
    assert moved.min() >= 0
    assert moved.max() <= 1


@pytest.mark.parametrize(("name", "output"), [("mel", "hidden"), ("input", "hidden"), ("mel", "f0")])
def test_a_mel_file_takes_any_batch_and_any_number_of_frames(name: str, output: str):
    found = session(ExportSettings("mel", input_name=name, output_name=output), narrow=True)
    assert [entry.name for entry in found.get_inputs()] == [name]
    assert [entry.name for entry in found.get_outputs()] == [output]
    log_mel = np.random.default_rng(0).normal(-6.0, 3.0, (3, 128, 100)).astype(np.float32)
    for frames in (1, 2, 31, 32, 33, 64, 100):
        (together,) = found.run(None, {name: log_mel[:, :, :frames]})
        assert together.shape == (3, frames, 360)
        for k in range(3):
            (alone,) = found.run(None, {name: log_mel[k : k + 1, :, :frames]})
            np.testing.assert_allclose(alone[0], together[k], rtol=0, atol=1e-6)


def test_a_mel_pitch_file_takes_any_number_of_frames():
    found = session(ExportSettings("mel-pitch"), narrow=True)
    for frames in (1, 31, 32, 33, 100):
        log_mel = np.random.default_rng(0).normal(-6.0, 3.0, (1, 128, frames)).astype(np.float32)
        (f0_hz,) = found.run(None, {"mel": log_mel, "threshold": np.array(0.0, np.float32)})
        assert f0_hz.shape == (1, frames)
        assert (f0_hz > 30).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_says_what_it_is(kind: str):
    settings = {"waveform": {"threshold_for": 0.03}, "mel": {"salience_for": 0.03}}.get(kind, {})
    model = build(bundled(), ExportSettings(kind, **settings))  # type: ignore[arg-type]
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
    assert model.ir_version == 8
    assert "STFT" not in {node.op_type for node in model.graph.node}
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    front_end = {
        "sample_rate": "16000",
        "n_mels": "128",
        "window_length": "1024",
        "hop_length": "160",
        "mel_fmin": "30.0",
        "mel_fmax": "8000.0",
        "n_class": "360",
        "center": "true",
        "stft_pad_mode": "reflect",
    }
    assert front_end.items() <= metadata.items()
    assert float(metadata["cents_const"]) == pytest.approx(1997.3794084376191, abs=1e-9)
    assert float(metadata["threshold"]) == bundled().threshold
    assert {"kind", "network", "weights_hash", "rmvpe_version", "calibration", "licence"} <= set(metadata)
    assert metadata["kind"] == kind
    assert {name for name in metadata if name.endswith("_for")} == set(settings)


def test_weights_in_half_are_half_the_size():
    whole, half = (len(build(bundled(), ExportSettings(dtype=dtype)).SerializeToString()) for dtype in DTYPES)
    assert half < 0.55 * whole
    kinds = [node.op_type for node in build(bundled(), ExportSettings(dtype="float16")).graph.node]
    assert "BatchNormalization" in kinds


def test_a_file_of_another_network_is_refused():
    for config, words in (
        (replace(NARROW.config, n_bins=12), "12 salience bins"),
        (replace(NARROW.config, mel=replace(NARROW.config.mel, sample_rate=22050)), "22050 Hz"),
    ):
        with pytest.raises(UserError, match=f"{words} is not supported"):
            build(golden.checkpoint(config), ExportSettings())


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "audio"},
        {"dtype": "int8"},
        {"input_name": "spectrogram", "kind": "mel"},
        {"kind": "mel", "threshold_for": 0.03},
        {"salience_for": 0.03},
        {"input_name": "input"},
        {"output_name": "f0"},
        {"output_name": "salience", "kind": "mel"},
        {"threshold_for": 0.0},
        {"threshold_for": 1.0},
        {"threshold_for": float("nan")},
        {"kind": "mel", "salience_for": -0.1},
    ],
)
def test_settings_that_do_not_go_together_are_refused(wrong: dict[str, Any]):
    with pytest.raises(UserError) as error:
        ExportSettings(**wrong)
    assert "\n" not in str(error.value)


def test_onnx_reads_a_file_again(tmp_path: Path):
    path = tmp_path / "net.onnx"
    path.write_bytes(build(NARROW, ExportSettings()).SerializeToString())
    onnx.checker.check_model(onnx.load(path), full_check=True)
