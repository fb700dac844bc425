"""Voicing: hysteresis, the silence gate, and the bundled weights on silence and noise."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

import rmvpe
from rmvpe import audio, backends
from rmvpe.checkpoint.store import bundled_weights
from rmvpe.cli import predict
from rmvpe.config import MelConfig, ModelConfig
from rmvpe.config_check import ConfigError
from rmvpe.decode import PitchCurve, decode, hold_voiced, pitch, voicing
from rmvpe.estimator import Estimator
from rmvpe.framing import frame_levels_db
from rmvpe.track import F0Track
from tests.helpers.commands import command_with
from tests.helpers.networks import StandInNetwork
from tests.helpers.paths import ROOT
from tests.helpers.settings import decoding
from tests.helpers.waves import swelling, waves

MEL = MelConfig()
CONFIDENCES = st.lists(st.sampled_from([-np.inf, *np.linspace(0.0, 1.0, 21)]), max_size=60).map(np.array)
SHARES = st.floats(min_value=0.0, max_value=1.0)
LSB = 2.0**-15  # of 16-bit audio
# White noise in dBFS. In 6 minutes per level the bundled weights 76cd5634 call no frame voiced
NOISE_DB = (-70.0, -50.0, -30.0, -20.0, -10.0, -3.0)


def slow_hold(confidence: np.ndarray, threshold: float, hysteresis: float) -> list[bool]:
    """What `hold_voiced` does, one frame after the other."""
    voiced, before = [], False
    for value in confidence:
        before = bool(value >= threshold or (before and value >= threshold - hysteresis))
        voiced.append(before)
    return voiced


def test_hysteresis_by_hand():
    confidence = np.array([0.3, 0.5, 0.3, 0.29, 0.3, 0.4, 0.5, 0.9, 0.31, -np.inf, 0.4])
    #                      no   start hold below no  no   start yes  hold never    no
    expected = [False, True, True, False, False, False, True, True, True, False, False]
    assert hold_voiced(confidence, 0.5, 0.2).tolist() == expected
    assert hold_voiced(confidence, 0.5, 0.0).tolist() == (confidence >= 0.5).tolist()
    assert hold_voiced(confidence, 0.5, 0.5).tolist() == [False] + 8 * [True] + 2 * [False]
    assert hold_voiced(confidence[:0], 0.5, 0.2).shape == (0,)


@given(CONFIDENCES, SHARES, SHARES)
def test_hysteresis_is_the_plain_loop(confidence: np.ndarray, threshold: float, share: float):
    hysteresis = share * threshold
    assert hold_voiced(confidence, threshold, hysteresis).tolist() == slow_hold(confidence, threshold, hysteresis)


@given(CONFIDENCES, SHARES, SHARES, SHARES)
def test_more_hysteresis_never_unvoices(confidence: np.ndarray, threshold: float, a: float, b: float):
    less, more = (hold_voiced(confidence, threshold, share * threshold) for share in sorted((a, b)))
    assert not (less & ~more).any()


def test_a_silent_frame_ends_a_voiced_run():
    confidence = np.array([0.9, 0.4, 0.4, 0.4, 0.9], dtype=np.float32)
    config = decoding(threshold=0.5, hysteresis=0.2, silence_gate_db=-60.0)
    f0_hz, level_db = np.full(5, 200.0), np.array([-20.0, -60.0, -60.1, -20.0, -np.inf])
    assert voicing(f0_hz, confidence, config).tolist() == [True] * 5
    assert voicing(f0_hz, confidence, config, level_db).tolist() == [True, True, False, False, False]
    f0_hz[1] = 0.0  # so does one without a pitch
    assert voicing(f0_hz, confidence, config).tolist() == [True, False, False, False, True]
    with pytest.raises(ValueError, match=r"one per frame, \[5\], not \[4\]"):
        voicing(f0_hz, confidence, config, level_db[:4])


def test_decode_is_its_two_steps():
    salience = np.random.default_rng(1).random((50, 360), dtype=np.float32) ** 4
    level_db = np.linspace(-100.0, -60.0, 50)
    config = decoding(threshold=0.995, hysteresis=0.01)
    f0_hz, voiced, confidence = decode(salience, config, level_db)
    always, same = pitch(salience, config)
    np.testing.assert_array_equal(confidence, same)
    np.testing.assert_array_equal(voiced, voicing(always, confidence, config, level_db))
    np.testing.assert_array_equal(f0_hz, np.where(voiced, always, 0.0))
    assert not voiced[level_db < -80].any()
    assert 5 < voiced.sum() < 25
    assert decode(salience, config)[1][level_db < -80].any()


@pytest.mark.parametrize("n", [1, 2, 159, 160, 1000, 16000, 5000 * 160 + 7])
def test_levels_are_those_under_the_windows(n: int):
    sound = 0.1 * np.random.default_rng(0).standard_normal(n).astype(np.float32)
    padded = np.pad(sound.astype(np.float64), 512, mode="reflect" if n > 1 else "edge")
    frames = [padded[start : start + 1024] for start in range(0, n // 160 * 160 + 1, 160)]
    expected = [20 * np.log10(np.sqrt(np.mean(frame**2))) for frame in frames]
    np.testing.assert_allclose(frame_levels_db(sound, MEL), expected, atol=1e-9)  # rounding of float64 sums


def test_levels_of_what_is_known():
    np.testing.assert_allclose(frame_levels_db(np.ones(1600), MEL), 0.0, atol=1e-12)
    np.testing.assert_allclose(frame_levels_db(np.full(1600, 0.001), MEL), -60.0, atol=1e-9)
    assert (frame_levels_db(np.zeros(1600), MEL) == -np.inf).all()
    assert frame_levels_db(np.zeros(0), MEL).shape == (0,)
    half = np.concatenate([np.zeros(16000), np.ones(16000)])
    level_db = frame_levels_db(half, MEL)
    assert level_db[100] == pytest.approx(10 * np.log10(0.5))  # half of its window sounds
    assert (level_db[:97] == -np.inf).all()  # its window ends before the first sound, however loud what follows
    np.testing.assert_array_equal(frame_levels_db(half, MEL, block_frames=7), level_db)


@pytest.mark.parametrize("decoder", ["local-average", "viterbi"])
def test_blocks_are_voiced_as_the_whole(decoder: str):
    config = decoding(decoder=decoder, threshold=0.4, hysteresis=0.25, silence_gate_db=-40.0)
    sound, blocks = swelling(30.0), waves(64, 32, config)
    borders = np.cumsum([len(block) for block in blocks.iter_salience(sound, 16000)])[:-1]
    expected = decode(blocks.salience(sound, 16000), config, frame_levels_db(sound, MEL))
    track = blocks.from_audio(sound, 16000)
    whole = waves(32 * 100, 0, config).from_audio(sound, 16000)
    for found, other, known in zip(("f0_hz", "voiced", "confidence"), (whole,) * 3, expected):
        np.testing.assert_array_equal(getattr(track, found), known)
        # A spectrogram by windows differs from the whole one's by rounding
        np.testing.assert_allclose(getattr(track, found), getattr(other, found), atol=1e-4)
    # The test means something only if runs below the threshold cross borders, and the gate cuts others
    held = track.voiced & (track.confidence < config.threshold)
    assert (held[borders] & held[borders - 1]).sum() >= 3
    open_gate = blocks.from_audio(sound, 16000, silence_gate_db=-np.inf)
    assert (open_gate.voiced & ~track.voiced).sum() > 20
    assert not (track.voiced & (frame_levels_db(sound, MEL) < -40.0)).any()


class Sure(StandInNetwork):
    """A salience of 0.5 in all bins of all frames."""

    def respond(self, log_mel: np.ndarray) -> np.ndarray:
        return np.full((*log_mel.shape[:2], 360), 0.5, dtype=np.float32)


def test_an_open_gate_is_no_gate():
    config = decoding(threshold=0.0)
    assert not waves(64, 32, config).from_audio(np.zeros(16000), 16000).voiced.any()
    config = decoding(threshold=0.0, silence_gate_db=-np.inf)
    network = Estimator(Sure(), ModelConfig.small(), config)
    assert network.from_audio(np.zeros(16000), 16000).voiced.all()


def test_flags_of_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    soundfile.write(tmp_path / "a.wav", swelling(10.0), 16000, subtype="FLOAT")
    command = command_with(predict, lambda *_: waves(64, 32, decoding(threshold=0.4)))

    def code(*flags: str) -> int:
        return command(tmp_path / "a.wav", "-o", tmp_path / "a.npz", *flags)

    def run(*flags: str) -> F0Track:
        assert code(*flags) == 0
        return F0Track.read(tmp_path / "a.npz")

    plain, held, gated = run(), run("--hysteresis", "0.25"), run("--silence-gate-db=-20")
    assert plain.voiced.sum() < held.voiced.sum()
    assert plain.voiced.sum() > gated.voiced.sum() > 0
    np.testing.assert_array_equal(run("--silence-gate-db=-inf").voiced, plain.voiced)
    for flags, text in (
        (["--hysteresis", "0.5"], "hysteresis 0.5"),
        (["--silence-gate-db", "6"], "silence gate 6.0"),
    ):
        assert code(*flags) == 2
        assert text in capsys.readouterr().err
    with pytest.raises(ConfigError, match="hysteresis"):
        waves(64, 32, decoding()).from_audio(np.zeros(100), 16000, hysteresis=0.5)


def test_the_reliability_curve_by_hand(tmp_path: Path):
    pytest.importorskip("mir_eval")
    spec = importlib.util.spec_from_file_location("reliability", ROOT / "benchmarks" / "reliability.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    times = np.arange(6) * 0.01
    # right, 49 cents high, 51 cents high, no voice, no pitch, after the end of the annotation
    heard_hz = 200.0 * 2 ** (np.array([0, 49, 51, 0, 0, 0]) / 1200)
    heard_hz[4] = 0.0
    truth_hz = np.array([200.0, 200, 200, 0, 200])
    confidence = np.array([1.0, 0.95, 0.97, 0.55, 0.0, 0.5], dtype=np.float32)
    found = script.curve([script.Prediction(times[:5], truth_hz, times, PitchCurve(heard_hz, confidence))])
    np.testing.assert_array_equal(found[0], [1, 0, 0, 0, 0, 1, 0, 0, 0, 3])
    np.testing.assert_allclose(found[1:, [0, 5, 9]], [[0, 0.55, 2.92 / 3], [0, 0, 2 / 3]], atol=1e-6)  # float32
    assert np.isnan(found[1:, 1]).all()
    text = script.table({"clean": found})
    assert "| 0.9 to 1 | 66.7 | 3 |" in text
    assert "calibration error, clean: 29.4 %" in text  # (0.55 + 2.92 - 2) / 5
    pytest.importorskip("matplotlib")
    script.plot({"clean": found}, 0.5, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 10_000


@pytest.fixture(scope="module", params=backends.installed_backends())
def bundled(request: pytest.FixtureRequest) -> Estimator:
    if "small" not in bundled_weights():
        pytest.skip("no bundled weights")
    return rmvpe.load("small", request.param, "cpu")


def silences(n: int = 5 * 16000) -> dict[str, np.ndarray]:
    """Digital silence, and 16-bit silence with rectangular and triangular dither and with a constant of one LSB."""
    rng = np.random.default_rng(0)
    return {
        "digital": np.zeros(n),
        "rectangular dither": rng.integers(-1, 2, n) * LSB,
        "triangular dither": np.round(rng.random(n) - rng.random(n)) * LSB,
        "offset": np.full(n, LSB),
    }


def test_nothing_is_voiced_in_silence(bundled: Estimator):
    for name, sound in silences().items():
        assert not bundled.from_audio(sound, 16000).f0_hz.any(), name
        # Dither is below the gate, so that even a threshold of 0 finds no pitch in it
        assert not bundled.from_audio(sound, 16000, threshold=0.0).voiced.any(), name


def test_nothing_is_voiced_in_silence_even_without_the_gate(bundled: Estimator):
    for name, sound in silences().items():
        assert not bundled.from_audio(sound, 16000, silence_gate_db=-np.inf).voiced.any(), name


def white_noise(level_db: float, seconds: float) -> np.ndarray:
    """Gaussian noise of an RMS of `level_db` dBFS before clipping at full scale."""
    sound = 10 ** (level_db / 20) * np.random.default_rng(10).standard_normal(round(seconds * 16000))
    return np.clip(sound, -1.0, 1.0)


@pytest.mark.parametrize("level_db", NOISE_DB)
def test_nothing_is_voiced_in_white_noise(bundled: Estimator, level_db: float):
    track = bundled.from_audio(white_noise(level_db, 30.0), 16000)
    assert not track.voiced.any(), f"confidence {track.confidence.max():.3f}"


def test_the_gate_takes_nothing_from_a_recording(bundled: Estimator):
    """The demo recording has no digital silence in its voiced frames."""
    sound = audio.read(ROOT / "examples" / "demo.flac").samples
    gated, free = bundled.from_audio(sound, 16000), bundled.from_audio(sound, 16000, silence_gate_db=-np.inf)
    np.testing.assert_array_equal(gated.f0_hz, free.f0_hz)
    held = bundled.from_audio(sound, 16000, hysteresis=0.5 * bundled.config.known_threshold)
    assert (held.voiced >= gated.voiced).all()
    assert held.voiced.sum() > gated.voiced.sum()
    np.testing.assert_array_equal(held.f0_hz[gated.voiced], gated.f0_hz[gated.voiced])
