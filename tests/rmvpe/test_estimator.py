"""Audio to f0 around a network: windows, padding, batches, hops, edge cases, memory. Most tests use a stand-in network.

The stand-in is plain numpy with a known reach in time, so that what windows may and may not change is known exactly.
"""

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import rmvpe
from rmvpe import audio, backends
from rmvpe.backends import choose_backend, installed_backends, is_installed
from rmvpe.checkpoint.architecture import expected_tensors
from rmvpe.checkpoint.store import Checkpoint, bundled_weights
from rmvpe.config import DECODERS, DecodeConfig, ModelConfig
from rmvpe.config_check import ConfigError
from rmvpe.decode import decode
from rmvpe.errors import UserError
from rmvpe.estimator import WINDOW_FRAMES, Estimator, default_config
from rmvpe.framing import plan_padding
from rmvpe.mel import hz_to_mel, log_mel
from rmvpe.pitch import bins_to_hz, cents_between
from tests.helpers.networks import StandInNetwork
from tests.helpers.paths import ROOT

MODEL = ModelConfig.small()
FRAMEWORKS = installed_backends()


class MelPeaks(StandInNetwork):
    """A network of numpy: the loudest mel band of each frame, smoothed over `reach` frames on both sides."""

    def __init__(self, reach: int = 0, batch_windows: int = 1):
        self.reach, self.batch_windows = reach, batch_windows
        self.shapes: list[tuple[int, ...]] = []

    def respond(self, log_mel: np.ndarray) -> np.ndarray:
        assert log_mel.dtype == np.float32
        assert log_mel.shape[1] % MODEL.time_multiple == 0
        self.shapes.append(log_mel.shape)
        step = (hz_to_mel(8000.0) - hz_to_mel(30.0)) / 129
        band = (hz_to_mel(bins_to_hz(np.arange(360))) - hz_to_mel(30.0)) / step - 1
        low = np.clip(np.floor(band).astype(int), 0, 126)
        share = np.clip(band - low, 0.0, 1.0)
        level = log_mel[..., low] * (1 - share) + log_mel[..., low + 1] * share
        padded = np.pad(level, ((0, 0), (self.reach, self.reach), (0, 0)))
        total = np.cumsum(np.pad(padded, ((0, 0), (1, 0), (0, 0))).astype(np.float64), axis=1)
        width = 2 * self.reach + 1
        mean = (total[:, width:] - total[:, :-width]) / width
        return (1 / (1 + np.exp(-(mean + 1.0)))).astype(np.float32)

    def log_mel(self, audio: np.ndarray, *, key_shift_semitones: float = 0.0) -> np.ndarray:
        return np.stack(
            [log_mel(clip, MODEL.mel, key_shift_semitones=key_shift_semitones, centred=False) for clip in audio]
        )


def listening(
    window: int = 256, overlap: int = 128, reach: int = 0, batch: int = 1, front_end: str = "host"
) -> Estimator:
    network, config = MelPeaks(reach, batch), DecodeConfig(threshold=0.3)
    return Estimator(network, MODEL, config, front_end=front_end, window_frames=window, overlap_frames=overlap)


def noise(n: int, seed: int = 0) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(n).astype(np.float32)


def glide(
    seconds: float, rate: int = 16000, low_hz: float = 300.0, octaves: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """A tone gliding upward, and its pitch at each 10 ms."""
    time = np.arange(round(seconds * rate)) / rate
    phase = 2 * np.pi * low_hz * seconds / octaves / np.log(2) * 2 ** (octaves * time / seconds)
    return 0.5 * np.sin(phase), low_hz * 2 ** (octaves * np.arange(int(seconds * 100) + 1) / 100 / seconds)


@pytest.mark.parametrize("pad", ["silence", "reflect", "zero"])
@pytest.mark.parametrize("n", [160 * 255, 160 * 256, 40_000, 100_001, 160 * 1000 + 7])
@pytest.mark.parametrize("batch", [1, 3])
def test_windows_do_not_change_what_a_short_memory_hears(pad: str, n: int, batch: int):
    sound = noise(n)
    whole = listening(window=32 * 100, overlap=0, reach=20).salience(sound, 16000, pad=pad)
    assert whole.shape == (n // 160 + 1, 360)
    np.testing.assert_allclose(listening(reach=20, batch=batch).salience(sound, 16000, pad=pad), whole, atol=1e-6)


@pytest.mark.parametrize("pad", ["silence", "reflect", "zero"])
@pytest.mark.parametrize("n", [1, 100, 2000, 5119, 16000])
def test_padding_is_what_other_projects_feed_the_network(pad: str, n: int):
    sound, network = noise(n), MelPeaks(reach=5)
    plan = plan_padding(n, MODEL.mel, 32, pad)
    if pad == "silence":
        spectrum = log_mel(np.pad(sound, (0, plan.zeros_right)), MODEL.mel)
    else:
        extra = plan.padded_frames - plan.n_frames
        mode: dict[str, Any] = {"reflect": {"mode": "reflect" if plan.n_frames > 1 else "edge"}, "zero": {}}[pad]
        spectrum = np.pad(log_mel(sound, MODEL.mel), ((0, extra), (0, 0)), **mode)
    expected = network.respond(spectrum[None])[0, : plan.n_frames]
    np.testing.assert_allclose(listening(reach=5).salience(sound, 16000, pad=pad), expected, atol=1e-6)


def test_the_device_front_end_is_asked_for_windows():
    sound = noise(100_000)
    host, device = listening(), listening(front_end="device")
    np.testing.assert_array_equal(device.salience(sound, 16000), host.salience(sound, 16000))


def test_no_more_than_a_batch_of_windows_is_held():
    estimator = listening(batch=2)
    blocks = list(estimator.iter_salience(noise(160 * 5000), 16000))
    assert max(len(block) for block in blocks) <= 1024
    shapes = estimator.backend.shapes  # type: ignore[attr-defined]
    assert {shape[0] for shape in shapes} == {1, 2}
    assert max(shape[1] for shape in shapes) == 256


def test_progress_ends_at_one():
    for decoder in DECODERS:
        shares: list[float] = []
        listening().from_audio(noise(100_000), 16000, progress=shares.append, decoder=decoder)
        assert shares == sorted(shares)
        assert shares[-1] == 1.0
        assert len(shares) > 3


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000, 96000])
@pytest.mark.parametrize("hop_s", [None, 0.005])
def test_a_vibrato_is_neither_early_nor_late(rate: int, hop_s: float | None):
    """Correlation, because the stand-in resolves mel bands only, and one band off is no lag."""
    time_s = np.arange(3 * rate) / rate
    octaves = 0.4 * np.sin(2 * np.pi * 1.5 * time_s)
    sound = 0.5 * np.sin(2 * np.pi * np.cumsum(1000.0 * 2**octaves) / rate)
    track = listening().from_audio(sound, rate, hop_s=hop_s)
    step = hop_s or 0.01
    assert len(track) == round(3 / step) + 1
    truth = np.sin(2 * np.pi * 1.5 * track.time_s)
    inside = np.flatnonzero((track.time_s > 0.2) & (track.time_s < 2.8))
    assert track.voiced[inside].all()
    shifts = range(-4, 5)
    closeness = [np.corrcoef(np.log(track.f0_hz[inside + shift]), truth[inside])[0, 1] for shift in shifts]
    assert shifts[int(np.argmax(closeness))] == 0
    assert max(closeness) > 0.999


@pytest.mark.parametrize("hop_s", [0.005, 512 / 44100, 0.02, 0.0333])
def test_another_hop_keeps_time(hop_s: float):
    sound, _ = glide(2.0)
    estimator = listening()
    native, track = estimator.from_audio(sound, 16000), estimator.from_audio(sound, 16000, hop_s=hop_s)
    np.testing.assert_array_equal(track.time_s, np.arange(int(2.0 / hop_s) + 1) * hop_s)
    middle = (track.time_s > 0.1) & (track.time_s < 1.9)
    expected = np.exp(np.interp(track.time_s, native.time_s, np.log(np.maximum(native.f0_hz, 1.0))))
    np.testing.assert_allclose(track.f0_hz[middle], expected[middle], rtol=1e-9)


def test_a_hop_of_the_original_rate_gives_the_frames_synthesis_expects():
    for n in (44100, 512 * 80, 512 * 80 - 1, 512 * 80 + 1):
        assert len(listening().from_audio(np.zeros(n), 44100, hop_s=512 / 44100)) == n // 512 + 1
        assert len(listening().from_audio(np.zeros(n), 44100)) == n * 100 // 44100 + 1


EDGES = {
    "one sample": np.full(1, 0.5),
    "two samples": np.array([0.5, -0.5]),
    "0.05 s": noise(800),
    "silence": np.zeros(16000),
    "dc": np.full(16000, 0.7),
    "clipping": np.clip(5 * noise(16000), -0.2, 0.2) * 5,
    "far too loud": 30000.0 * noise(16000),
    "a whole number of windows": noise(5120 * 3 - 160),
    "six channels": np.stack([noise(8000, seed) for seed in range(6)], axis=1),
}


@pytest.mark.parametrize("name", EDGES)
@pytest.mark.parametrize("pad", ["silence", "reflect", "zero"])
@pytest.mark.parametrize("decoder", DECODERS)
def test_edges(name: str, pad: str, decoder: str):
    sound = EDGES[name]
    track = listening().from_audio(sound, 16000, pad=pad, decoder=decoder)
    assert len(track) == len(sound) // 160 + 1
    assert np.isfinite(track.f0_hz).all()
    assert np.array_equal(track.f0_hz > 0, track.voiced)
    assert ((track.confidence >= 0) & (track.confidence <= 1)).all()
    assert not (name == "silence" and pad == "silence" and track.voiced.any())


@pytest.mark.parametrize("hop_s", [None, 0.005])
def test_no_samples_give_an_empty_track(hop_s: float | None):
    estimator = listening()
    for decoder in DECODERS:
        assert len(estimator.from_audio(np.zeros(0), 44100, hop_s=hop_s, decoder=decoder)) == 0
    assert estimator.salience(np.zeros(0), 16000).shape == (0, 360)
    assert not estimator.backend.shapes  # type: ignore[attr-defined]


def test_settings_of_a_call_do_not_stay():
    estimator = listening()
    sound, _ = glide(1.0)
    assert not estimator.from_audio(sound, 16000, threshold=1.0).voiced.any()
    assert estimator.from_audio(sound, 16000).voiced.any()
    limited = estimator.from_audio(sound, 16000, f0_min_hz=320.0, f0_max_hz=400.0, threshold=0.0)
    assert limited.f0_hz[limited.voiced].min() >= 320
    assert limited.f0_hz.max() <= 400


def test_mistakes_come_to_light_before_the_work(tmp_path: Path):
    estimator = listening()
    for call in (estimator.from_audio, lambda *_, **given: estimator.from_file(tmp_path / "none.wav", **given)):
        with pytest.raises(ConfigError, match="decoder"):
            call(noise(100), 16000, decoder="argmax")
        with pytest.raises(UserError, match="hop"):
            call(noise(100), 16000, hop_s=0)
        with pytest.raises(TypeError, match="treshold"):
            call(noise(100), 16000, treshold=0.1)


def test_several_files_and_one_of_them_bad(tmp_path: Path):
    soundfile.write(tmp_path / "a.wav", glide(1.0)[0], 16000)
    (tmp_path / "b.wav").write_text("no sound")
    soundfile.write(tmp_path / "c.flac", np.stack([glide(0.5, 44100)[0]] * 2, axis=1), 44100)
    results = dict(listening().from_files([tmp_path / name for name in ("a.wav", "b.wav", "c.flac")]))
    assert [path.name for path in results] == ["a.wav", "b.wav", "c.flac"]
    bad = results[tmp_path / "b.wav"]
    assert isinstance(bad, UserError)
    assert "b.wav" in str(bad)
    lengths = [len(track) for track in results.values() if isinstance(track, rmvpe.F0Track)]
    assert lengths == [101, 51]


def test_channels_tracks_bytes_and_streams(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    estimator, voice, other = listening(), glide(1.0)[0], 0.4 * noise(16000)
    soundfile.write(tmp_path / "a.wav", np.stack([other, voice], 1), 16000, subtype="DOUBLE")
    data = (tmp_path / "a.wav").read_bytes()
    alone = estimator.from_audio(voice, 16000)
    for track in (
        estimator.from_audio(np.stack([other, voice], 1), 16000, channel="right"),
        estimator.from_file(tmp_path / "a.wav", channel="right", track=1),
        estimator.from_file(data, channel=1),
        estimator.from_file(io.BytesIO(data), channel=1),
        dict(estimator.from_files([tmp_path / "a.wav"], channel="right"))[tmp_path / "a.wav"],
    ):
        assert isinstance(track, rmvpe.F0Track)
        np.testing.assert_array_equal(track.f0_hz, alone.f0_hz)
    assert not np.array_equal(estimator.from_file(data).f0_hz, alone.f0_hz)
    with pytest.raises(UserError, match="no audio track 2"):
        estimator.from_file(tmp_path / "a.wav", track=2)
    with pytest.raises(UserError, match="channel 'middle'"):
        estimator.from_files([], channel="middle")
    assert not caplog.records
    with caplog.at_level("INFO", "rmvpe"):
        estimator.from_audio(np.stack([voice, -voice], 1), 16000)
    assert "the channels cancel each other" in caplog.text
    assert [record.levelname for record in caplog.records] == ["INFO"]
    estimator.from_file(data[: len(data) // 2])
    assert "ends after" in caplog.text


class NotFinite(StandInNetwork):
    """A network whose salience is NaN."""

    def respond(self, log_mel: np.ndarray) -> np.ndarray:
        return np.full((*log_mel.shape[:2], 360), np.nan, dtype=np.float32)


def test_salience_that_is_not_finite_is_an_error():
    with pytest.raises(UserError, match=r"not finite.*float32"):
        Estimator(NotFinite(), MODEL).from_audio(noise(1000), 16000)


def test_another_sample_rate_of_the_network_is_refused():
    from dataclasses import replace

    with pytest.raises(UserError, match="8000 Hz"):
        Estimator(MelPeaks(), replace(MODEL, mel=replace(MODEL.mel, sample_rate=8000, f_max_hz=4000.0)))


def weights(metadata: dict[str, str] | None = None) -> Checkpoint:
    rng = np.random.default_rng(0)
    scaled = ((name, shape, rng.standard_normal(shape)) for name, shape in expected_tensors(MODEL).items())
    tensors = {
        name: (np.abs(a) + 0.5 if "running_var" in name else a / np.sqrt(max(float(np.prod(shape[1:])), 4.0))).astype(
            np.float32
        )
        for name, shape, a in scaled
    }
    return Checkpoint(MODEL, tensors, metadata or {})


def test_the_threshold_comes_with_the_weights():
    assert default_config(weights()).threshold == 0.03
    assert default_config(weights({"threshold": "0.25"})).threshold == 0.25


def test_the_backend_is_the_one_installed():
    installed: set[str] = set()

    def choose(backend: str = "auto") -> str:
        return choose_backend(backend, is_installed=installed.__contains__, python=(3, 11, 0))

    with pytest.raises(
        UserError,
        match=r"none of onnx, torch, jax is installed: run pip install onnxruntime onnx or pip install torch or ",
    ):
        choose()
    installed.add("jax")
    assert choose() == "jax"
    with pytest.raises(UserError, match="torch is not installed: run pip install torch"):
        choose("torch")
    installed.add("torch")
    assert choose() == "torch"
    installed.add("onnxruntime")
    assert choose("auto") in ("torch", "onnx")  # by the machine: tests/rmvpe/test_backends.py
    with pytest.raises(UserError, match="unknown backend 'tensorflow': choose auto, torch, jax or onnx"):
        choose("tensorflow")


def test_a_half_installed_framework_is_named():
    def missing(name: str) -> None:
        raise ModuleNotFoundError("No module named 'flax'", name="flax")

    with pytest.raises(UserError, match="jax needs flax: run pip install jax flax"):
        backends.backend_class("jax", import_module=missing)


def test_every_public_name_is_there_and_no_other():
    assert set(rmvpe.__all__) <= set(dir(rmvpe))
    assert all(getattr(rmvpe, name) is not None for name in rmvpe.__all__)
    with pytest.raises(AttributeError, match="no attribute 'predict'"):
        _ = rmvpe.predict  # type: ignore[attr-defined]


@pytest.mark.skipif(not FRAMEWORKS, reason="no framework is installed")
def test_unknown_names_given_to_load():
    with pytest.raises(UserError, match="unknown front end"):
        rmvpe.load(weights(), front_end="gpu")
    with pytest.raises(UserError, match="gigantic"):
        rmvpe.load("gigantic")
    with pytest.raises(UserError, match=r"none\.pt does not exist"):
        rmvpe.load("none.pt")


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_each_framework_answers(framework: str, tmp_path: Path):
    estimator = rmvpe.load(weights(), framework, "cpu")
    assert "cpu" in repr(estimator).lower()
    soundfile.write(tmp_path / "a.wav", glide(0.5, 44100)[0], 44100)
    track = estimator.from_file(tmp_path / "a.wav", threshold=0.0)
    assert len(track) == 51
    assert 0 < track.confidence.min() <= track.confidence.max() < 1
    front = rmvpe.load(weights(), framework, "cpu", front_end="device").from_file(tmp_path / "a.wav", threshold=0.0)
    np.testing.assert_allclose(front.confidence, track.confidence, atol=1e-4)  # log-mel within 1e-5


def real_sound(seconds: float) -> np.ndarray:
    """The demo recording, over and over, with glides between."""
    clip = audio.read(ROOT / "examples" / "demo.flac").samples
    piece = np.concatenate([clip, glide(5.0, low_hz=110.0, octaves=2.0)[0].astype(np.float32)])
    return np.resize(piece, int(seconds * 16000))


def windowed_and_whole(estimator: Estimator) -> tuple[np.ndarray, np.ndarray]:
    """Salience of a minute of real sound, in the usual windows and in one."""
    sound = real_sound(64.0)
    windowed = estimator.salience(sound, 16000)
    assert len(windowed) > 2 * WINDOW_FRAMES
    whole = Estimator(estimator.backend, estimator.model, estimator.config, window_frames=32 * 400, overlap_frames=0)
    return windowed, whole.salience(sound, 16000)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("name", ["random", *bundled_weights()])
def test_windows_do_not_change_the_answer(framework: str, name: str):
    """What the GRU remembers is carried over the windows; the U-Net's far reach is what the cross-fades change."""
    estimator = rmvpe.load(weights() if name == "random" else name, framework, "cpu")
    windowed, whole = windowed_and_whole(estimator)
    assert np.abs(windowed - whole).max() < 1e-2
    if name != "random":
        f0_a, voiced_a, _ = decode(whole, estimator.config)
        f0_b, voiced_b, _ = decode(windowed, estimator.config)
        both = voiced_a & voiced_b
        assert both.mean() > 0.3
        assert np.mean(np.abs(cents_between(f0_b[both], f0_a[both])) <= 1.0) > 0.999
        assert np.mean(voiced_a != voiced_b) < 0.001


@pytest.mark.skipif("small" not in bundled_weights(), reason="no bundled weights")
@pytest.mark.parametrize("framework", FRAMEWORKS[:1])
def test_an_excerpt_has_the_pitch_of_the_recording(framework: str):
    """Ten seconds from where it was cut, on the U-Net's grid of 32 frames: the weights have forgotten the rest."""
    estimator, sound = rmvpe.load("small", framework, "cpu"), real_sound(64.0)
    first, margin, stop = 32 * 31, 1000, 6000
    whole = estimator.pitch_curve(sound, 16000)
    excerpt = estimator.pitch_curve(sound[160 * first : 160 * stop], 16000)
    inside, there = slice(margin, stop - first - margin), slice(first + margin, stop - margin)
    voiced_a, voiced_b = excerpt.voiced(estimator.config)[inside], whole.voiced(estimator.config)[there]
    both = voiced_a & voiced_b
    assert both.mean() > 0.3
    off = np.abs(cents_between(excerpt.f0_hz[inside][both], whole.f0_hz[there][both]))
    assert np.mean(off <= 1.0) > 0.99
    assert np.mean(voiced_a != voiced_b) < 0.005


HOUR = """
import sys
import numpy as np
import rmvpe
from rmvpe.checkpoint.architecture import expected_tensors
from rmvpe.checkpoint.store import Checkpoint
from rmvpe.config import preset
from rmvpe.evaluation.trackers.process import peak_memory

framework, name, decoder, path = sys.argv[1:]
config = preset(name)
rng = np.random.default_rng(0)
tensors = {}
for key, shape in expected_tensors(config).items():
    values = (rng.standard_normal(shape) / np.sqrt(max(float(np.prod(shape[1:])), 4.0))).astype(np.float32)
    tensors[key] = np.abs(values) if "running_var" in key else values
track = rmvpe.load(Checkpoint(config, tensors, {}), framework, "cpu").from_file(path, decoder=decoder)
print(len(track), peak_memory() / 1e9)
"""


@pytest.mark.slow
@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize(
    ("name", "decoder", "gigabytes"),
    [("small", "local-average", 2.0), ("small", "viterbi", 2.0), ("e2e0", "local-average", 3.0)],
)
def test_an_hour_of_audio_fits_into_memory(framework: str, name: str, decoder: str, gigabytes: float, tmp_path: Path):
    path = tmp_path / "hour.flac"
    with soundfile.SoundFile(path, "w", 44100, 2) as file:
        for second in range(3600):
            file.write(np.stack([noise(44100, second % 7)] * 2, axis=1))
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    command = [sys.executable, "-c", HOUR, framework, name, decoder, str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=ROOT)
    frames, peak = result.stdout.split()
    print(f"{framework} {name} {decoder}: {peak} GB")
    assert int(frames) == 360_001
    assert float(peak) < gigabytes


def test_a_folder_named_like_a_framework_is_not_one(tmp_path, monkeypatch):
    (tmp_path / "no_such_framework").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert not is_installed("no_such_framework")
    assert is_installed("numpy")
