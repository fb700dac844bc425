"""The second pass for high notes: its rule, frames, window borders and flags. tests/parity tests it with real weights.

Like the published weights, the stand-in network gives notes above 1040 Hz an octave too low.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from rmvpe.backends import BACKENDS, is_installed
from rmvpe.calibration import calibrated
from rmvpe.cli import evaluate, predict
from rmvpe.config import ModelConfig
from rmvpe.config_check import ConfigError
from rmvpe.decode import decode
from rmvpe.estimator import Estimator
from rmvpe.evaluation.agreement import compare_salience
from rmvpe.evaluation.trackers.adapters import find_trackers, track_everywhere
from rmvpe.framing import plan_padding
from rmvpe.high_register import SWITCH_HZ, TOP_HZ, join
from rmvpe.mel import hz_to_mel, log_mel
from rmvpe.pitch import bins_to_hz, cents_between
from rmvpe.track import F0Track
from tests.helpers.commands import command_with
from tests.helpers.networks import StandInNetwork
from tests.helpers.settings import decoding

MODEL = ModelConfig.small()
RATE_HZ = 16000
BAND_CENTS = 90.0  # the resolution of the stand-in is a mel band, and bands at 500 Hz are 170 cents wide
RANGE_UP_TO_HZ = 1040.0


class LowVoiced(StandInNetwork):
    """Finds the loudest mel band of each frame, above 1040 Hz an octave too low; `shown` keeps its inputs."""

    name, device = "numpy", "here"

    def __init__(self, batch_windows: int = 1):
        self.batch_windows = batch_windows
        self.shown: list[np.ndarray] = []

    def respond(self, log_mel: np.ndarray) -> np.ndarray:
        self.shown.append(log_mel)
        step = (hz_to_mel(8000.0) - hz_to_mel(30.0)) / 129
        hz = bins_to_hz(np.arange(360))
        band = (hz_to_mel(hz) - hz_to_mel(30.0)) / step - 1
        low = np.clip(np.floor(band).astype(int), 0, 126)
        share = np.clip(band - low, 0.0, 1.0)
        level = log_mel[..., low] * (1 - share) + log_mel[..., low + 1] * share
        salience = (1 / (1 + np.exp(-(level - 2.0)))).astype(np.float32)
        beyond = hz > RANGE_UP_TO_HZ
        salience[..., :-60] = np.maximum(salience[..., :-60], np.where(beyond[60:], salience[..., 60:], 0.0))
        return np.where(beyond, np.float32(0.0), salience)

    def log_mel(self, audio: np.ndarray, *, key_shift_semitones: float = 0.0) -> np.ndarray:
        clips = [log_mel(clip, MODEL.mel, key_shift_semitones=key_shift_semitones, centred=False) for clip in audio]
        return np.stack(clips) + np.float32(1e-3)  # so that it shows who computed it


def estimator(window: int = 256, overlap: int = 128, batch: int = 1, front_end: str = "host") -> Estimator:
    config = decoding(threshold=0.3, high_register=True)
    return Estimator(LowVoiced(batch), MODEL, config, window_frames=window, overlap_frames=overlap, front_end=front_end)


def sweep(seconds: float, low_hz: float = 300.0, high_hz: float = 1900.0) -> tuple[np.ndarray, np.ndarray]:
    """A sine that goes up and down between two pitches every 4 s, and its f0 at each 10 ms."""

    def f0_at(time_s: np.ndarray) -> np.ndarray:
        return low_hz * (high_hz / low_hz) ** (0.5 - 0.5 * np.cos(2 * np.pi * time_s / 4.0))

    phase = 2 * np.pi * np.cumsum(f0_at(np.arange(round(seconds * RATE_HZ)) / RATE_HZ)) / RATE_HZ
    return (0.5 * np.sin(phase)).astype(np.float32), f0_at(np.arange(int(seconds * 100) + 1) / 100)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((300.0, 0.9), (150.0, 0.95), (300.0, 0.9)),  # the same note, below the switch
        ((990.0, 0.9), (499.0, 0.95), (990.0, 0.9)),
        ((400.0, 0.1), (499.9, 0.95), (400.0, 0.1)),  # below the switch the second pass does not count
        ((550.0, 0.9), (550.0, 0.46), (1100.0, 0.46)),  # an octave low
        ((550.0, 0.9), (550.0, 0.44), (550.0, 0.9)),  # too little confidence for the high note
        ((570.0, 0.9), (550.0, 0.9), (1100.0, 0.9)),  # 62 cents from an octave
        ((590.0, 0.9), (550.0, 0.9), (590.0, 0.9)),  # 122 cents from it
        ((1030.0, 0.9), (520.0, 0.5), (1040.0, 0.5)),  # the same note above the switch
        ((999.0, 0.9), (501.0, 0.95), (999.0, 0.9)),  # the first pass finds it below the switch
        ((200.0, 0.4), (700.0, 0.79), (200.0, 0.4)),  # another note
        ((200.0, 0.4), (700.0, 0.81), (1400.0, 0.81)),
        ((0.0, 0.0), (700.0, 0.1), (1400.0, 0.1)),  # nothing
        ((0.0, 0.0), (0.0, 0.0), (0.0, 0.0)),
        ((300.0, 0.0), (TOP_HZ / 2, 0.9), (TOP_HZ, 0.9)),
        ((300.0, 0.0), (TOP_HZ / 2 + 0.1, 0.9), (300.0, 0.0)),  # above the range of f0
    ],
)
def test_the_rule_by_hand(first: tuple[float, float], second: tuple[float, float], expected: tuple[float, float]):
    def frame(f0_hz: float, confidence: float) -> tuple[np.ndarray, np.ndarray]:
        return np.array([f0_hz]), np.array([confidence], dtype=np.float32)

    found = join(frame(*first), frame(*second))
    assert (found[0][0], found[1][0]) == (expected[0], np.float32(expected[1]))
    assert [part.dtype for part in found] == [np.float64, np.float32]


FRAMES = st.lists(st.tuples(*[st.floats(0.0, 2100.0), st.floats(0.0, 1.0, width=32)] * 2), max_size=40)


@given(FRAMES)
def test_a_frame_is_the_firsts_or_the_seconds_and_below_the_switch_the_firsts(frames: list[tuple[float, ...]]):
    f0_hz, confidence, lower_hz, lower_confidence = np.array(frames).reshape(-1, 4).T
    found_hz, found = join((f0_hz, confidence), (lower_hz, lower_confidence))
    taken = (found_hz != f0_hz) | (found != confidence)
    np.testing.assert_array_equal(found_hz, np.where(taken, 2 * lower_hz, f0_hz))
    np.testing.assert_array_equal(found, np.where(taken, lower_confidence, confidence))
    assert (found_hz[taken] > SWITCH_HZ).all()
    assert (found_hz[taken] <= TOP_HZ).all()


@pytest.mark.parametrize("decoder", ["local-average", "viterbi"])
def test_high_notes_come_out_right_and_low_ones_as_before(decoder: str):
    sound, f0_hz = sweep(8.0)
    twice = estimator().from_audio(sound, RATE_HZ, decoder=decoder)
    once = estimator().from_audio(sound, RATE_HZ, decoder=decoder, high_register=False)
    off = [np.abs(cents_between(np.maximum(track.f0_hz, 1.0), f0_hz)) for track in (once, twice)]
    inside = np.arange(len(f0_hz))[5:-5]
    high = inside[f0_hz[inside] > 1150.0]
    assert np.mean(off[0][high] < BAND_CENTS) < 0.01
    assert np.mean(np.abs(off[0][high] - 1200.0) < BAND_CENTS) > 0.95  # an octave low, as the published weights
    assert twice.voiced[high].all()
    assert (off[1][high] < BAND_CENTS).all()
    low = inside[f0_hz[inside] < 900.0]
    for name in ("f0_hz", "voiced", "confidence"):
        np.testing.assert_array_equal(getattr(twice, name)[low], getattr(once, name)[low])


def test_calibration_is_of_the_joined_confidence_and_changes_no_pitch():
    sound, _ = sweep(8.0)
    plain, other = (
        estimator().from_audio(sound, RATE_HZ, calibration=calibration, threshold=0.0)
        for calibration in ((1.0, 0.0), (3.0, -4.0))
    )
    np.testing.assert_array_equal(other.f0_hz, plain.f0_hz)
    np.testing.assert_array_equal(other.confidence, calibrated(plain.confidence, (3.0, -4.0)))
    once = estimator().from_audio(sound, RATE_HZ, calibration=(3.0, -4.0), threshold=0.0, high_register=False)
    low = once.f0_hz == other.f0_hz
    assert low.mean() > 0.3
    np.testing.assert_array_equal(other.confidence[low], once.confidence[low])


@pytest.mark.parametrize("pad", ["silence", "reflect", "zero"])
@pytest.mark.parametrize("n", [1, 100, 2000, 5119, 16000])
@pytest.mark.parametrize("front_end", ["host", "device"])
def test_the_second_pass_is_shown_the_same_frames_an_octave_lower(pad: str, n: int, front_end: str):
    sound = 0.1 * np.random.default_rng(n).standard_normal(n).astype(np.float32)
    twice = estimator(front_end=front_end)
    twice.from_audio(sound, RATE_HZ, pad=pad)
    plan = plan_padding(n, MODEL.mel, 32, pad)
    for shown, shift in zip(twice.backend.shown, (0.0, -12.0), strict=True):  # type: ignore[attr-defined]
        spectrum = log_mel(np.pad(sound, (0, plan.zeros_right)), MODEL.mel, key_shift_semitones=shift)
        expected = np.where(plan.frame_source[:, None] < 0, 0.0, spectrum[np.maximum(plan.frame_source, 0)])
        device = 1e-3 * (front_end == "device") * (plan.frame_source[:, None] >= 0)
        np.testing.assert_allclose(shown[0], expected + device, atol=1e-5)


def test_a_vibrato_of_the_second_pass_is_neither_early_nor_late():
    time_s = np.arange(3 * RATE_HZ) / RATE_HZ
    octaves = 0.25 * np.sin(2 * np.pi * 1.5 * time_s)
    sound = 0.5 * np.sin(2 * np.pi * np.cumsum(1500.0 * 2**octaves) / RATE_HZ)
    track = estimator().from_audio(sound, RATE_HZ)
    inside = np.arange(20, 280)
    assert (track.f0_hz[inside] > SWITCH_HZ).all()
    truth = np.sin(2 * np.pi * 1.5 * track.time_s)[inside]
    shifts = range(-4, 5)
    closeness = [np.corrcoef(np.log(track.f0_hz[inside + shift]), truth)[0, 1] for shift in shifts]
    assert shifts[int(np.argmax(closeness))] == 0


@pytest.mark.parametrize("decoder", ["local-average", "viterbi"])
@pytest.mark.parametrize(("window", "overlap", "batch"), [(64, 32, 1), (256, 128, 3)])
def test_the_result_does_not_depend_on_the_windows(decoder: str, window: int, overlap: int, batch: int):
    sound, f0_hz = sweep(20.0)
    whole = estimator(window=32 * 100, overlap=0).from_audio(sound, RATE_HZ, decoder=decoder)
    cut = estimator(window, overlap, batch).from_audio(sound, RATE_HZ, decoder=decoder)
    np.testing.assert_array_equal(cut.voiced, whole.voiced)
    # A spectrogram by windows differs from the whole one's by rounding
    np.testing.assert_allclose(cut.f0_hz, whole.f0_hz, rtol=1e-5)
    np.testing.assert_allclose(cut.confidence, whole.confidence, atol=1e-5)
    high, borders = whole.f0_hz > SWITCH_HZ, np.arange(window, len(f0_hz), window - overlap)
    assert high[borders].any()  # or the test would mean nothing
    assert not high[borders].all()


def test_progress_goes_through_both_passes():
    for decoder in ("local-average", "viterbi"):
        shares: list[float] = []
        estimator().from_audio(sweep(10.0)[0], RATE_HZ, progress=shares.append, decoder=decoder)
        assert shares == sorted(shares)
        assert shares[-1] == 1.0
        assert 0.5 in shares
        assert len(shares) > 6


def test_limits_are_those_of_the_doubled_f0():
    sound, f0_hz = sweep(8.0)

    def track(**limits: Any) -> F0Track:
        return estimator().from_audio(sound, RATE_HZ, **limits)

    free, below, above = track(), track(f0_max_hz=1500.0), track(f0_min_hz=1200.0)
    assert free.f0_hz.max() > 1800
    assert below.f0_hz.max() <= 1500.0
    inside = (f0_hz > 1150.0) & (f0_hz < 1400.0)
    np.testing.assert_array_equal(below.f0_hz[inside], free.f0_hz[inside])
    assert above.f0_hz[above.voiced].min() >= 1200.0
    inside = (f0_hz > 1350.0) & (np.arange(len(f0_hz)) < len(f0_hz) - 5)
    np.testing.assert_array_equal(above.f0_hz[inside], free.f0_hz[inside])


def test_where_nothing_could_be_taken_nothing_is_computed():
    twice = estimator(window=3200, overlap=0)
    for limit_hz, passes in ((SWITCH_HZ, 1), (SWITCH_HZ + 1.0, 2)):
        twice.backend.shown.clear()  # type: ignore[attr-defined]
        twice.from_audio(sweep(2.0)[0], RATE_HZ, f0_max_hz=limit_hz)
        assert len(twice.backend.shown) == passes  # type: ignore[attr-defined]
    assert decoding().high_register is False


def test_silence_and_nothing():
    for decoder in ("local-average", "viterbi"):
        assert not estimator().from_audio(np.zeros(16000), RATE_HZ, decoder=decoder).voiced.any()
        assert len(estimator().from_audio(np.zeros(0), RATE_HZ, decoder=decoder)) == 0


def test_salience_is_that_of_one_pass_and_cannot_be_decoded_as_two():
    sound = sweep(1.0)[0]
    salience = estimator().salience(sound, 16000)
    np.testing.assert_array_equal(estimator().with_config(high_register=False).salience(sound, 16000), salience)
    config = decoding(high_register=True)
    for call in (lambda: decode(salience, config), lambda: compare_salience(salience, salience, config)):
        with pytest.raises(ConfigError, match=r"high_register.*give audio"):
            call()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A steady tone of 1400 Hz and its annotation."""
    tone = 0.5 * np.sin(2 * np.pi * 1400.0 * np.arange(2 * RATE_HZ) / RATE_HZ)
    soundfile.write(tmp_path / "a.wav", tone, RATE_HZ)
    (tmp_path / "a.csv").write_text("".join(f"{0.01 * k:.2f},1400.0\n" for k in range(200)))
    return tmp_path


def once() -> Estimator:
    return Estimator(LowVoiced(), MODEL, decoding(threshold=0.3))


def test_the_flag_of_predict(folder: Path):
    command = command_with(predict, lambda *_: once())
    for flags, hz in (([], 700.0), (["--high-register"], 1400.0)):
        assert command(folder / "a.wav", "-o", folder / "a.npz", *flags) == 0
        track = F0Track.read(folder / "a.npz")
        assert np.abs(cents_between(np.median(track.f0_hz), np.array(hz))) < BAND_CENTS


def test_the_flag_of_evaluate(folder: Path, capsys: pytest.CaptureFixture[str]):
    pytest.importorskip("mir_eval")
    command = command_with(evaluate, lambda *_: once())
    scores = {}
    for flag in ("--high-register", "--decoder=local-average"):
        assert command("--data", f"folder:{folder}", "--snr", "clean", "--json", folder / "s.json", flag) == 0
        report = json.loads((folder / "s.json").read_text())
        scores[flag] = report["pooled"]["clean"]["octave"]
        assert report["decoding"]["high_register"] is (flag == "--high-register")
        assert ("threshold 0.3, high register\n" in capsys.readouterr().out) is (flag == "--high-register")
    assert scores["--high-register"] < 0.02
    assert scores["--decoder=local-average"] > 0.98


def test_the_compared_tracker():
    sound, _ = sweep(4.0)
    for twice in (False, True):
        track = track_everywhere(once().with_config(high_register=twice), sound)
        expected = once().from_audio(sound, RATE_HZ, high_register=twice)
        np.testing.assert_array_equal(track.voiced, expected.voiced)
        np.testing.assert_array_equal(track.f0_hz[expected.voiced], expected.f0_hz[expected.voiced])


@pytest.mark.skipif(not any(map(is_installed, BACKENDS)), reason="no framework is installed")
def test_the_compared_tracker_says_that_it_runs_twice():
    for twice in (False, True):
        tracker = find_trackers(["rmvpe"], high_register=twice)["rmvpe"].open(1)
        assert ("high register" in tracker.settings) is twice
