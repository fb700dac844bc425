"""Evaluation: the mix is at the ratio it says, a perfect network scores one, and the threshold is the best one."""

import dataclasses
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rmvpe.config import USUAL, DecodeConfig, ModelConfig
from rmvpe.data.mixing import find_music, piece_of_music, rms
from rmvpe.data.readers.base import Item
from rmvpe.data.targets import salience_target
from rmvpe.decode import PitchCurve, pitch
from rmvpe.errors import UserError
from rmvpe.evaluation.evaluate import (
    CLEAN,
    MUSIC,
    best_threshold,
    evaluate,
    evenly_spaced,
    mixed,
    parse_ratio,
    predictions,
    snr_name,
    with_music,
)
from rmvpe.evaluation.metrics import melody_scores, pool
from rmvpe.framing import frame_levels_db, frame_times, samples_to_frames
from rmvpe.interpolation import f0_at_times
from tests.helpers.hybrid import glide
from tests.helpers.sources import MemorySource

pytest.importorskip("mir_eval")
MODEL = ModelConfig.small()


class Glides(MemorySource):
    """Three glides with noise beside them, as `Hybrid` gives them."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Item:
        voice, f0_hz = glide(index)
        noise = np.random.default_rng(index).normal(0, 0.1, len(voice)).astype(np.float32)
        time_s = 0.01 * np.arange(1, len(f0_hz))
        return Item(str(index), voice, noise, f0_hz[1:], time_s)


def oracle(confidence_voiced: float, confidence_unvoiced: float):
    """A network that knows the answer by the audio's samples, with a confidence of its own."""
    items = [Glides()[index] for index in range(3)]

    def salience_of(audio: np.ndarray) -> np.ndarray:
        item = max(items, key=lambda item: abs(float(np.dot(item.voice, audio[: len(item.voice)]))))
        times = frame_times(samples_to_frames(len(audio), 160), MODEL.mel)
        f0_hz = f0_at_times(item.time_s, item.f0_hz, times)
        target = salience_target(np.where(f0_hz > 0, f0_hz, 200.0))
        return target * np.where(f0_hz > 0, confidence_voiced, confidence_unvoiced)[:, None].astype(np.float32)

    return salience_of


@dataclass(frozen=True)
class SalienceEstimator:
    """An estimator that decodes what a function of the audio gives as salience."""

    salience_of: Callable[[np.ndarray], np.ndarray]
    threshold: float = USUAL.known_threshold
    model = MODEL

    @property
    def config(self) -> DecodeConfig:
        return replace(USUAL, threshold=self.threshold)

    def pitch_curve(self, audio: np.ndarray, sample_rate: float) -> PitchCurve:
        return PitchCurve(*pitch(self.salience_of(audio), self.config), frame_levels_db(audio, MODEL.mel))


def test_a_perfect_network_scores_one_at_every_ratio():
    result = evaluate(SalienceEstimator(oracle(0.9, 0.1), 0.5), Glides(), snr_db=(CLEAN, 20.0))
    assert list(result.pooled) == ["clean", "20 dB"]
    assert [(row["file"], row["ratio"]) for row in result.files] == [
        (name, ratio) for name in "012" for ratio in ("clean", "20 dB")
    ]
    for row in [*result.pooled.values(), *result.files]:
        assert row["RPA"] == pytest.approx(1.0)
        assert row["OA"] > 0.99
        assert row["VFA"] < 0.04  # one frame at the end of the voice, of the 30 unvoiced of each file
        assert row["octave"] == 0
        assert row["lag"] == 0


def test_pitch_accuracy_does_not_depend_on_the_threshold():
    low, high = (
        evaluate(SalienceEstimator(oracle(0.4, 0.1), threshold), Glides(), snr_db=(CLEAN,)).pooled["clean"]
        for threshold in (0.2, 0.5)
    )
    assert low["RPA"] == high["RPA"] == pytest.approx(1.0)
    assert low["VR"] > 0.99
    assert high["VR"] == 0.0


def test_the_best_threshold_lies_between_the_confidences():
    rows = predictions(SalienceEstimator(oracle(0.6, 0.3)), Glides(), (CLEAN, 20.0))
    assert 0.3 < best_threshold(rows, [0.1, 0.2, 0.45, 0.7]) < 0.6


def test_the_best_threshold_keeps_to_a_false_alarm_where_one_can():
    """A hesitant network: voiced at 0.6 or 0.3, unvoiced at 0.4 in half of the frames, 0.1 in the other half."""

    def hesitant(audio: np.ndarray) -> np.ndarray:
        salience = oracle(0.6, 0.4)(audio)
        salience[::2] *= np.where(salience[::2].max(axis=1, keepdims=True) > 0.5, 0.5, 0.25).astype(np.float32)
        return salience

    rows = predictions(SalienceEstimator(hesitant), Glides(), (CLEAN,))
    ungated = DecodeConfig(silence_gate_db=-np.inf)  # the pauses are digital silence
    candidates = [0.2, 0.5]  # all voices and half of the pauses; half of the voices and no pause
    assert best_threshold(rows, candidates, ungated) == 0.2
    assert best_threshold(rows, candidates, ungated, {"clean": 0.1}) == 0.5
    assert best_threshold(rows, candidates, ungated, {"clean": 0.9}) == 0.2
    assert best_threshold(rows, [0.05, 0.2], ungated, {"clean": 0.1}) == 0.2  # none keeps to it: the nearest


def test_mixed_is_deterministic_and_never_clips():
    item = Glides()[0]
    loud = mixed(item, -30.0, MODEL)
    np.testing.assert_array_equal(loud, mixed(item, -30.0, MODEL))
    assert loud is not None
    assert np.abs(loud).max() <= 1.0
    music = mixed(item, 10.0, MODEL) - item.voice
    voiced = item.voice[: int(1.7 * 16000)]
    assert 20 * np.log10(rms(voiced) / rms(music)) == pytest.approx(10.0, abs=0.1)
    np.testing.assert_array_equal(mixed(item, CLEAN, MODEL), item.voice)


def late(salience_of, frames: int):
    """The same network, late by so many frames."""
    return lambda audio: np.roll(salience_of(audio), frames, axis=0)


def test_pooling_file_by_file_is_pooling_all_frames():
    network = late(oracle(0.9, 0.1), 2)
    result = evaluate(SalienceEstimator(network, 0.5), Glides(), snr_db=(CLEAN,))
    config = DecodeConfig(threshold=0.5)
    rows = predictions(SalienceEstimator(network, 0.5), Glides(), (CLEAN,))
    whole = melody_scores(pool([prediction.aligned(config) for prediction in rows["clean"]]))
    first, *others = (prediction.tally(config) for prediction in rows["clean"])
    assert result.pooled["clean"] == sum(others, first).scores()
    for name, share in whole.items():
        assert result.pooled["clean"][name] == pytest.approx(share, abs=1e-12)  # the same counts, summed in two orders
        assert share != 1.0  # the delay costs something in every score, or this would compare nothing
    assert result.pooled["clean"]["lag"] == 2


@pytest.mark.parametrize("step_s", [256 / 44_100, 0.02, 0.032])
def test_lag_is_in_frames_of_the_network_whatever_the_annotations_grid(step_s: float):
    class Coarse(Glides):
        def __getitem__(self, index: int) -> Item:
            item = super().__getitem__(index)
            time_s = np.arange(step_s, 2.0, step_s)
            return dataclasses.replace(item, time_s=time_s, f0_hz=f0_at_times(item.time_s, item.f0_hz, time_s))

    result = evaluate(SalienceEstimator(late(oracle(0.9, 0.1), 3), 0.5), Coarse(), snr_db=(CLEAN,))
    assert result.pooled["clean"]["lag"] == 3


def test_music_alone_counts_false_alarms_and_nothing_else():
    result = evaluate(SalienceEstimator(oracle(0.9, 0.1), 0.5), Glides(), snr_db=(MUSIC,), indices=[0, 2])
    assert list(result.pooled) == ["music"]
    for row in [result.pooled["music"], *result.files]:
        assert {name for name, score in row.items() if score != score} == {"RPA", "RCA", "VR", "octave", "lag"}
        # The oracle finds a voice in whatever it is given; 1.7 s of 2 s
        assert row["VFA"] == pytest.approx(0.85, abs=0.02)
        assert row["OA"] == pytest.approx(1 - row["VFA"])


def test_a_file_without_music_is_evaluated_alone_only():
    class OneBare(Glides):
        def __getitem__(self, index: int) -> Item:
            item = super().__getitem__(index)
            return dataclasses.replace(item, accompaniment=None) if index else item

    result = evaluate(SalienceEstimator(oracle(0.9, 0.1), 0.5), OneBare(), snr_db=(CLEAN, 0.0))
    assert [row["file"] for row in result.files if row["ratio"] == "0 dB"] == ["0"]
    alone = evaluate(SalienceEstimator(oracle(0.9, 0.1), 0.5), OneBare(), snr_db=(0.0, CLEAN), indices=[1, 2])
    assert list(alone.pooled) == ["clean"]
    silent = dataclasses.replace(Glides()[0], accompaniment=np.zeros(32000, dtype=np.float32))
    assert mixed(silent, 0.0, MODEL) is None


def test_a_bad_file_stops_the_evaluation_or_is_listed():
    class OneBad(Glides):
        def __getitem__(self, index: int) -> Item:
            if index == 1:
                raise UserError("b.pv, line 3: 'x' is not a MIDI number")
            return super().__getitem__(index)

    with pytest.raises(UserError, match=r"b\.pv, line 3"):
        evaluate(SalienceEstimator(oracle(0.9, 0.1), 0.5), OneBad())
    result = evaluate(SalienceEstimator(oracle(0.9, 0.1), 0.5), OneBad(), keep_going=True)
    assert {row["file"] for row in result.files} == {"0", "2"}
    assert result.failures == ("1: b.pv, line 3: 'x' is not a MIDI number",)
    with pytest.raises(UserError, match=r"none of 1 files can be evaluated; the first: 1: b\.pv"):
        evaluate(SalienceEstimator(oracle(0.9, 0.1), 0.5), OneBad(), indices=[1], keep_going=True)


def failing(error: BaseException) -> SalienceEstimator:
    """The oracle, which raises at the second ratio of the second file of two ratios."""
    calls, right = itertools.count(1), oracle(0.9, 0.1)

    def salience_of(audio: np.ndarray) -> np.ndarray:
        if next(calls) == 4:
            raise error
        return right(audio)

    return SalienceEstimator(salience_of, 0.5)


@pytest.mark.parametrize("error", [RuntimeError("no memory\nhere"), MemoryError(), IndexError(3), OSError(5, "I/O")])
def test_any_exception_of_one_file_stays_with_that_file(error: Exception, capsys: pytest.CaptureFixture[str]):
    result = evaluate(failing(error), Glides(), snr_db=(CLEAN, MUSIC), keep_going=True)
    assert [(row["file"], row["ratio"]) for row in result.files] == [
        (name, ratio) for name in ("0", "2") for ratio in ("clean", "music")
    ]
    (failure,) = result.failures
    assert failure.startswith("1")
    assert "\n" not in failure
    assert capsys.readouterr().err == ""
    evaluate(failing(error), Glides(), snr_db=(CLEAN, MUSIC), keep_going=True, debug=True)
    assert "in salience_of" in capsys.readouterr().err


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), SystemExit(1)])
def test_what_ends_the_program_is_no_failure_of_a_file(stop: BaseException):
    with pytest.raises(type(stop)):
        evaluate(failing(stop), Glides(), snr_db=(CLEAN, MUSIC), keep_going=True)


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three files whose samples are their own numbers from 0 to 1, at two rates, and one that is silent."""
    folder = tmp_path_factory.mktemp("music")
    for name, rate, seconds in (("a.wav", 16000, 3.0), ("b.flac", 16000, 0.5), ("sub/c.wav", 44100, 4.0)):
        (folder / name).parent.mkdir(exist_ok=True)
        ramp = np.linspace(0, 1, int(rate * seconds))
        soundfile.write(folder / name, np.stack([ramp, ramp], axis=1), rate)
    soundfile.write(folder / "silent.wav", np.zeros(80000), 16000)
    return folder


def test_a_voice_gets_the_same_music_from_everyone(music: Path):
    paths = find_music(music)
    assert [path.name for path in paths] == ["a.wav", "b.flac", "silent.wav", "c.wav"]
    pieces = {name: piece_of_music(paths, name, 20000) for name in "abcdefgh"}
    for name, piece in pieces.items():
        assert piece.dtype == np.float32
        assert len(piece) == 20000
        np.testing.assert_array_equal(piece, piece_of_music(paths[::-1], name, 20000))
    assert len({piece[0] for piece in pieces.values()}) > 4  # other voices meet other places
    assert rms(piece_of_music(paths, "long", 150000)[-1000:]) > 0  # longer than all files together


def test_only_the_piece_is_read_and_it_is_at_16_khz(music: Path):
    (path,) = (path for path in find_music(music) if path.name == "c.wav")
    piece = piece_of_music([path], "voice", 16000)
    # A second of a ramp over four seconds rises by a quarter; the edges are the resampler's
    assert piece[15000] - piece[1000] == pytest.approx(0.25 * 14 / 16, abs=1e-3)


def test_music_is_set_against_the_voice(music: Path):
    item = with_music(Glides()[0], find_music(music))
    own = Glides()[0].accompaniment
    assert item.accompaniment is not None
    assert own is not None
    assert not np.array_equal(item.accompaniment, own)
    found = mixed(item, 10.0, MODEL) - item.voice
    voiced = item.voice[: int(1.7 * 16000)]
    assert 20 * np.log10(rms(voiced) / rms(found)) == pytest.approx(10.0, abs=0.1)


def test_music_that_is_none(tmp_path: Path):
    with pytest.raises(UserError, match="holds no sound file"):
        find_music(tmp_path)
    soundfile.write(tmp_path / "silent.wav", np.zeros(16000), 16000)
    with pytest.raises(UserError, match="no music but silence"):
        piece_of_music(find_music(tmp_path), "voice", 100)
    (tmp_path / "text.wav").write_text("la la la")
    with pytest.raises(UserError, match=r"text\.wav cannot be read as sound"):
        piece_of_music(find_music(tmp_path), "voice", 100)


def test_names_of_ratios_and_evenly_spaced_files():
    assert [snr_name(snr) for snr in (CLEAN, 0.0, -5.0, MUSIC)] == ["clean", "0 dB", "-5 dB", "music"]
    assert [parse_ratio(text) for text in ("clean", " 0", "-5 dB", "2.5", "Music")] == [math.inf, 0, -5, 2.5, -math.inf]
    for text in ("", "loud", "nan", "inf", "5db5"):
        with pytest.raises(UserError, match="is no voice-to-music ratio"):
            parse_ratio(text)
    assert evenly_spaced(100, 5) == [0, 25, 50, 74, 99]
    assert evenly_spaced(3, 10) == [0, 1, 2]
